"""The rotated, unquantized model is the original (control T0), for every shape of model."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

import qharness.builtin
from qharness.host import Host
from qharness.models.architecture import architecture_of, head_dim_of
from qharness.quantization.base import ModelContext
from qharness.rotation.folding import untie_head
from qharness.rotation.matrices import orthogonality_error
from qharness.rotation.merging import random_rotations, rotate_model
from qharness.rotation.online import Online
from qharness.testing.prepared import assert_maps_hessians, make_uneven, mean_kl
from qharness.transforms.attach import attach_transforms
from qharness_spinquant.options import Options
from qharness_spinquant.quantizer import SpinQuant

SMALL = dict(vocab_size=96, hidden_size=48, intermediate_size=96, num_hidden_layers=3, max_position_embeddings=64)
SHAPES = {
    "gqa": (MistralConfig, MistralForCausalLM, dict(num_attention_heads=6, num_key_value_heads=2)),
    "mha_tied": (LlamaConfig, LlamaForCausalLM, dict(num_attention_heads=4, tie_word_embeddings=True)),
    "own_head_dim": (
        MistralConfig,
        MistralForCausalLM,
        dict(num_attention_heads=4, num_key_value_heads=2, head_dim=16),
    ),
    "biases": (
        LlamaConfig,
        LlamaForCausalLM,
        dict(num_attention_heads=6, num_key_value_heads=3, attention_bias=True, mlp_bias=True),
    ),
}


def _model(shape):
    config, kind, extra = SHAPES[shape]
    torch.manual_seed(0)
    model = kind(config(**SMALL, **extra)).eval()
    make_uneven(model)
    return model


def _context(model, tmp_path, seed=0):
    tokens = torch.randint(0, 96, (6, 24), generator=torch.Generator().manual_seed(1))
    return ModelContext(architecture_of(model.config), tokens, seed, "cpu", tmp_path, lambda *_: None)


def _rotated(model, tmp_path, **options):
    changed = copy.deepcopy(model)
    context = _context(model, tmp_path)
    prepared = SpinQuant(Options(**{"learn": False, **options})).prepare(changed, context)
    attached = attach_transforms(changed, prepared.transforms, prepared.tensors, Host(extra=_builtin()))
    return changed, prepared, attached, context


def _builtin():
    host = Host()
    return {} if any(status.name == "builtin" for status in host.status) else {"builtin": qharness.builtin}


def _start(sizes, seed):
    return random_rotations(sizes, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"no_had": True}, {"r4_block": 32}], ids=["r4", "no_had", "blocks"])
def test_rotated_model_is_the_original(shape, options, tmp_path):
    model = _model(shape)
    changed, _, _, context = _rotated(model, tmp_path, **options)
    assert not torch.allclose(changed.model.layers[0].mlp.up_proj.weight, model.model.layers[0].mlp.up_proj.weight)
    assert mean_kl(model, changed, context.calibration) < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_learned_rotations_keep_the_model(shape, tmp_path):
    model = _model(shape)
    changed, prepared, _, context = _rotated(model, tmp_path, learn=True, iterations=3)
    assert mean_kl(model, changed, context.calibration) < 1e-6
    assert max(prepared.notes["orthogonality"].values()) < 1e-6
    assert prepared.notes["in_the_loop"] == "weights"


def test_rotated_model_stored_in_bfloat16(tmp_path):
    model = _model("gqa")
    model.to(torch.bfloat16).float()
    changed, _, _, context = _rotated(model, tmp_path)
    changed.to(torch.bfloat16).float()
    scale = model(context.calibration).logits.std()
    with torch.no_grad():
        error = (model(context.calibration).logits - changed(context.calibration).logits).std() / scale
    assert error < 2e-2
    kept = _rotated(model, tmp_path)[0]
    assert mean_kl(model, kept, context.calibration) < 1e-6


def test_missing_r4_destroys_and_never_merged_r4_does_not(tmp_path):
    model = _model("gqa")
    changed, _, attached, context = _rotated(model, tmp_path)
    attached.detach()
    without, _, _, _ = _rotated(model, tmp_path, no_had=True)
    assert mean_kl(model, changed, context.calibration) > 0.05
    assert mean_kl(model, without, context.calibration) < 1e-6


def test_never_merged_r4_equals_no_had(tmp_path):
    model = _model("own_head_dim")
    untied = copy.deepcopy(model)
    names = architecture_of(model.config)
    untie_head(untied, names)
    sizes = (model.config.hidden_size, head_dim_of(model.config), model.config.num_hidden_layers)
    rotate_model(untied, names, _start(sizes, 0)[0], Online())
    no_had, prepared, _, _ = _rotated(model, tmp_path, no_had=True)
    assert not prepared.transforms
    for (name, left), right in zip(untied.named_parameters(), no_had.parameters(), strict=True):
        assert torch.equal(left, right), name


def test_r3_is_needed_only_with_a_quantized_cache(tmp_path):
    model = _model("gqa")
    changed, prepared, attached, context = _rotated(model, tmp_path)
    assert [entry.id for entry in prepared.transforms] == ["r4", "r3", "r3"]
    assert set(attached.not_needed) == {"r3"}
    attached.detach()
    attach_transforms(changed, prepared.transforms, {}, Host(extra=_builtin()), kv_bits=8)
    assert mean_kl(model, changed, context.calibration) < 1e-6


def test_sizes_without_a_hadamard_matrix_fall_back_and_say_so(tmp_path):
    torch.manual_seed(0)
    config = LlamaConfig(**{**SMALL, "hidden_size": 54}, num_attention_heads=3, head_dim=18)
    model = LlamaForCausalLM(config).eval()
    changed, prepared, _, context = _rotated(model, tmp_path)
    assert "random orthogonal" in prepared.notes["start"]
    assert mean_kl(model, changed, context.calibration) < 1e-6


def test_hessian_map_is_the_hessian_of_the_prepared_model(tmp_path):
    model = _model("biases")
    changed, prepared, _, context = _rotated(model, tmp_path)
    assert_maps_hessians(prepared, model, changed, context.calibration)


@pytest.mark.parametrize("seed", [0, 1])
def test_random_start_is_orthogonal_and_follows_the_seed(seed):
    first, second = _start((48, 8, 3), seed)[0], _start((48, 8, 3), seed)[0]
    assert torch.equal(first.r1, second.r1) and torch.equal(first.r2, second.r2)
    assert max(orthogonality_error(first.r1), orthogonality_error(first.r2)) < 1e-12
    assert not torch.equal(first.r1, _start((48, 8, 3), seed + 2)[0].r1)
