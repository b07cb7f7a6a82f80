"""What feedback and passes bring, and which type each linear gets."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig

from qharness.errors import UnsupportedArchitecture, UsageError
from qharness.models.architecture import architecture_of
from qharness.quantization.base import LinearContext
from qharness.rounding.feedback import proxy_loss, round_with_feedback
from qharness.testing.problems import make_problem
from qharness_iq2_xxs.lattice import LatticeCode
from qharness_iq2_xxs.linear import BlockLinear
from qharness_iq2_xxs.mix import choose_types
from qharness_iq2_xxs.options import Options
from qharness_iq2_xxs.polish import Blocks, polish
from qharness_iq2_xxs.quantizer import Iq2Xxs, encode


@pytest.fixture(scope="module")
def problem():
    return make_problem(48, 512, bias=False)


def _loss(problem, options, kind="IQ2_XXS"):
    weight = problem.linear.weight.detach()
    blocks = encode(weight, problem.hessian, kind, options)
    return proxy_loss(weight, BlockLinear(blocks, kind, None).dequantize(), problem.hessian)


@pytest.mark.parametrize("kind", ["IQ2_XXS", "Q2_K", "Q4_K", "IQ4_NL"])
def test_feedback_lowers_the_output_error(problem, kind):
    nearest = _loss(problem, Options(feedback=False, passes=0), kind)
    assert _loss(problem, Options(passes=0), kind) < 0.85 * nearest


@pytest.mark.parametrize("kind", ["IQ2_XXS", "Q2_K"])
def test_unbiased_rows_keep_the_size_of_their_output(problem, kind):
    weight, hessian = problem.linear.weight.detach(), problem.hessian

    def gains(unbiased):
        blocks = encode(weight, hessian, kind, Options(passes=0, unbiased=unbiased))
        found = BlockLinear(blocks, kind, None).dequantize()
        return ((weight @ hessian) * found).sum(1) / ((weight @ hessian) * weight).sum(1)

    assert float((gains(True) - 1).abs().max()) < 2e-3
    assert float(gains(False).mean()) < 0.997


def test_no_pass_makes_any_row_worse(problem):
    weight, hessian = problem.linear.weight.detach(), problem.hessian.clone()
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian))
    code = LatticeCode()
    rounded = round_with_feedback(weight, hessian, code)
    blocks = Blocks(rounded.indices, code.table())
    assert torch.equal(blocks.decode(), rounded.weight)

    def rows(found):
        error = weight - found.decode()
        return ((error @ damped) * error).sum(1)

    losses = [rows(blocks)]
    for passes in (1, 2):
        losses.append(rows(polish(weight, hessian, blocks, passes=passes, damping=0.01)))
    assert bool((losses[1] <= losses[0]).all()) and bool((losses[2] <= losses[1] * 1.0001).all())
    assert float(losses[2].sum()) < 0.95 * float(losses[0].sum())


@pytest.mark.parametrize(("kv_heads", "values"), [(2, "Q4_K"), (4, "Q2_K")])
def test_default_mix(kv_heads, values):
    config = LlamaConfig(num_hidden_layers=16, num_attention_heads=8, num_key_value_heads=kv_heads)
    types = choose_types("default", architecture_of(config), config)
    kinds = [types.kind(f"model.layers.{i}.mlp.down_proj", 768) for i in range(16)]
    assert kinds == ["Q2_K"] * 2 + ["IQ2_XXS"] * 14
    assert types.kind("model.layers.9.self_attn.v_proj", 256) == values
    assert types.kind("model.layers.9.self_attn.q_proj", 576) == "IQ4_NL"
    pure = choose_types("pure", architecture_of(config), config)
    assert pure.kind("model.layers.0.mlp.down_proj", 768) == "IQ2_XXS"


def test_sizes_that_no_block_fits_are_refused():
    linear = torch.nn.Linear(40, 8)
    context = LinearContext("layer", torch.eye(40), None, torch.Generator(), "cpu")
    with pytest.raises(UnsupportedArchitecture, match="40 inputs"):
        Iq2Xxs(Options()).quantize(linear, context)
    with pytest.raises(UsageError, match="passes"):
        Iq2Xxs(Options(passes=-1))
