"""Incoherence processing: the function of a model is kept for any size, and nothing runs without its other half."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from qharness import builtin
from qharness.errors import MissingTransform, UsageError
from qharness.host import Host
from qharness.models.architecture import architecture_of
from qharness.quantization.incoherence import (
    Hadamards,
    Rht,
    hadamard_block,
    norm_slot,
    process_hessian,
    process_model,
    process_weight,
    random_signs,
)
from qharness.transforms.attach import attach_transforms
from qharness.transforms.contract import TransformEntry, hadamard_entry


@pytest.fixture
def host():
    return Host(extra={} if any(s.name == "builtin" for s in Host().status) else {"builtin": builtin})


def _model(hidden=48, intermediate=72, bias=True):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, attention_bias=bias, mlp_bias=bias,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return model


IDS = torch.arange(40).view(2, 20) % 64


def _logits(model):
    with torch.no_grad():
        return model(IDS).logits


# 576 = 36 * 16 and 1536 = 12 * 128 (SmolLM2), Mistral, Llama-2, 13B; no Hadamard matrix of 10920 or 50 is known.
@pytest.mark.parametrize(
    ("size", "block"),
    [(576, None), (1536, None), (14336, None), (11008, None), (13824, None), (10920, 2184), (50, 2), (63, 1)],
)
def test_every_size_has_an_orthogonal_transform(size, block):
    assert hadamard_block(size) == block
    x = torch.randn(3, size, generator=torch.Generator().manual_seed(0)).double()
    rht = Rht(random_signs(size, 0, "x"), hadamard_block(size))
    y = rht.apply(x)
    assert torch.allclose(y @ y.T, x @ x.T, rtol=1e-10)
    if size > 64:
        spike = torch.zeros(size).double().index_fill_(0, torch.tensor([5]), 1.0)
        assert rht.apply(spike).abs().max() < 1.01 * (block or size) ** -0.5


def test_the_wanted_block_is_taken_where_it_divides():
    assert hadamard_block(14336, 128) == 128
    assert hadamard_block(128, 128) is None
    assert hadamard_block(576, 128) is None


def test_the_layer_output_and_its_error_are_kept():
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(24, 96, generator=generator).double(), torch.randn(64, 96, generator=generator).double()
    inner, outer = Rht(random_signs(96, 0, "in"), None), Rht(random_signs(24, 0, "out"), None)
    processed, hessian = process_weight(weight, inner, outer), process_hessian(x.T @ x, inner)
    assert torch.allclose(inner.apply(x) @ processed.T, outer.apply(x @ weight.T))
    error = torch.randn(24, 96, generator=generator).double()
    there = process_weight(error, inner, outer)
    assert torch.allclose(((error @ (x.T @ x)) * error).sum(), ((there @ hessian) * there).sum())


@pytest.mark.parametrize(("hidden", "intermediate", "block"), [(48, 72, 0), (48, 72, 16), (40, 60, 0)])
def test_the_processed_model_computes_the_same(host, hidden, intermediate, block):
    model = _model(hidden, intermediate)
    plain = _logits(model)
    prepared = process_model(model, architecture_of(model.config), 0, hadamards=Hadamards(block))
    assert (_logits(model) - plain).abs().max() > 0.1
    entries = [TransformEntry.from_json(entry.to_json()) for entry in prepared.transforms]
    outcome = attach_transforms(model, entries, prepared.tensors, host)
    assert len(entries) == 14 and sum(len(t.modules) for t in outcome.attached) == 28
    torch.testing.assert_close(_logits(model), plain, rtol=1e-4, atol=2e-4)


def test_signs_differ_between_modules_and_seeds():
    first = process_model(_model(), architecture_of(_model().config), 0).tensors
    again = process_model(_model(), architecture_of(_model().config), 0).tensors
    other = process_model(_model(), architecture_of(_model().config), 1).tensors
    assert len(first) == 2 * (4 + 7)
    assert all(torch.equal(first[name], again[name]) and first[name].dtype == torch.int8 for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    inputs = [name for name in first if name.endswith("q_proj.input_signs") or name.endswith("o_proj.input_signs")]
    vectors = [first[name].tolist() for name in inputs]
    assert all(a != b for i, a in enumerate(vectors) for b in vectors[:i])


def test_stored_hessians_are_mapped_to_what_the_processed_layer_sees(host):
    model = _model()
    seen = {}

    def hook(name):
        return lambda _, args: seen.update({name: args[0].flatten(0, 1)})

    name = "model.layers.1.mlp.up_proj"
    handle = model.get_submodule(name).register_forward_pre_hook(hook("before"))
    _logits(model)
    handle.remove()
    prepared = process_model(model, architecture_of(model.config), 0)
    attach_transforms(model, prepared.transforms, prepared.tensors, host)
    model.get_submodule(name).register_forward_pre_hook(hook("after"))
    _logits(model)
    mapped = prepared.hessian_map(name, seen["before"].T @ seen["before"])
    torch.testing.assert_close(mapped, seen["after"].T @ seen["after"], rtol=1e-3, atol=1e-3)


def test_what_rounding_a_trained_norm_takes_off_goes_into_the_signs():
    generator = torch.Generator().manual_seed(0)
    norm = torch.nn.RMSNorm(256).bfloat16()
    norm.weight.data = (torch.rand(256, generator=generator) + 0.5).bfloat16()
    before = norm.weight.detach().clone()
    tensors = {"s": random_signs(256, 0, "s")}
    signs = tensors["s"].float()
    slot = norm_slot(norm, tensors, "s", 1e-5, "norm")
    trained = before.float() * (1 + 1e-3 * torch.randn(256, generator=generator))
    leaf = torch.nn.Parameter(trained.clone())
    slot.write(leaf)
    assert norm.weight is leaf and tensors["s"].dtype == torch.int8
    slot.write(trained)
    assert norm.weight.dtype == torch.bfloat16
    torch.testing.assert_close(norm.weight.float() * tensors["s"].float(), trained * signs, rtol=2**-11, atol=0)
    # Most of it would be lost otherwise.
    assert ((trained.bfloat16().float() - trained).abs() > 2**-11 * trained).float().mean() > 0.5
    untouched = {"s": random_signs(256, 0, "s")}
    norm.weight.data = before.clone()
    slot = norm_slot(norm, untouched, "s", 1e-5, "norm")
    slot.write(before.float())
    assert torch.equal(norm.weight, before) and untouched["s"].dtype == torch.int8


def test_refused_without_the_transform_unless_it_is_ablated(host):
    model = _model()
    prepared = process_model(model, architecture_of(model.config), 0)
    for entry in prepared.transforms[:2]:
        with pytest.raises(MissingTransform, match="--ablate rht"):
            attach_transforms(model, [entry], {}, host)
    assert attach_transforms(model, prepared.transforms, prepared.tensors, host, ["RHT"]).ablated == ("rht",)


def test_one_wrong_sign_of_one_module_is_noticed(host):
    model = _model()
    prepared = process_model(model, architecture_of(model.config), 0)
    for name in ("model.layers.1.self_attn.k_proj.output_signs", "model.layers.0.mlp.down_proj.input_signs"):
        tensors = copy.deepcopy(dict(prepared.tensors))
        tensors[name][3] *= -1
        with pytest.raises(MissingTransform, match="fingerprint"):
            attach_transforms(model, prepared.transforms, tensors, host)
    swapped = copy.deepcopy(dict(prepared.tensors))
    pair = [f"model.layers.{index}.mlp.down_proj.input_signs" for index in (0, 1)]
    swapped[pair[0]], swapped[pair[1]] = swapped[pair[1]], swapped[pair[0]]
    with pytest.raises(MissingTransform, match="fingerprint"):
        attach_transforms(model, prepared.transforms, swapped, host)
    assert not model.model.layers[0].mlp.down_proj._forward_pre_hooks


def test_a_module_without_signs_is_refused(host):
    model = _model()
    prepared = process_model(model, architecture_of(model.config), 0)
    tensors = {k: v for k, v in prepared.tensors.items() if not k.startswith("model.layers.1")}
    entry = hadamard_entry(
        id="rht", modules="model.layers.*.mlp.down_proj", site="linear_input", size=72,
        signs="model.layers.*.mlp.down_proj.input_signs", sign_vector=tensors,
    )  # fmt: skip
    with pytest.raises(MissingTransform, match=r"layers\.1.*is not in the artifact"):
        attach_transforms(model, [entry], tensors, host)
    with pytest.raises(UsageError, match="one '\\*' each"):
        hadamard_entry(
            id="rht", modules="model.layers.0.mlp.down_proj", site="linear_input", size=72,
            signs="model.layers.*.mlp.down_proj.input_signs", sign_vector=tensors,
        )  # fmt: skip
