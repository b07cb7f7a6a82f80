"""The rotated, unquantized model is the original; without an online Hadamard it is another; 9 heads are refused."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from qharness.errors import MissingTransform, UnsupportedArchitecture
from qharness.host import Host
from qharness.models.architecture import architecture_of
from qharness.quantization.base import ModelContext
from qharness.testing.prepared import assert_maps_hessians, make_uneven, mean_kl
from qharness.transforms.attach import attach_transforms
from qharness_quarot.options import Options
from qharness_quarot.quantizer import QuaRot

SMALL = dict(vocab_size=96, hidden_size=48, intermediate_size=96, num_hidden_layers=3, max_position_embeddings=64)
SHAPES = {
    "gqa": (MistralConfig, MistralForCausalLM, dict(num_attention_heads=12, num_key_value_heads=4)),
    "mha_tied": (LlamaConfig, LlamaForCausalLM, dict(num_attention_heads=4, tie_word_embeddings=True)),
    "own_head_dim": (
        MistralConfig,
        MistralForCausalLM,
        dict(num_attention_heads=4, num_key_value_heads=2, head_dim=16),
    ),
    "biases": (
        LlamaConfig,
        LlamaForCausalLM,
        dict(num_attention_heads=4, num_key_value_heads=2, attention_bias=True, mlp_bias=True),
    ),
}
VARIANTS = {
    "plain": {},
    "walsh": {"rotation": "walsh", "block": 16},
    "blocks": {"block": 16},
    "r1_r2": {"across_heads": False, "r4": False},
}


@pytest.fixture(scope="module")
def host():
    return Host()


def _model(shape, **changes):
    config, kind, extra = SHAPES[shape]
    torch.manual_seed(0)
    model = kind(config(**{**SMALL, **extra, **changes})).eval()
    make_uneven(model)
    return model


TOKENS = torch.randint(0, 96, (6, 24), generator=torch.Generator().manual_seed(1))


def _prepare(model, **options):
    context = ModelContext(architecture_of(model.config), TOKENS, 0, "cpu", None, lambda *_: None)
    return QuaRot(Options(**options)).prepare(model, context)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_rotated_model_is_the_original(host, shape, options):
    model = _model(shape)
    changed = copy.deepcopy(model)
    prepared = _prepare(changed, **options)
    outcome = attach_transforms(changed, prepared.transforms, prepared.tensors, host)
    expected = [] if options == VARIANTS["r1_r2"] else ["r4", "across_heads"]
    assert [transform.entry.id for transform in outcome.attached] == expected
    assert outcome.not_needed == ("r3",)
    assert not torch.allclose(changed.model.layers[0].mlp.up_proj.weight, model.model.layers[0].mlp.up_proj.weight)
    assert mean_kl(model, changed, TOKENS) < 1e-6


def test_r3_is_needed_with_a_quantized_cache_and_changes_nothing_by_itself(host):
    model = _model("gqa", num_attention_heads=6, num_key_value_heads=2)
    changed = copy.deepcopy(model)
    prepared = _prepare(changed, across_heads=False)
    outcome = attach_transforms(changed, prepared.transforms, {}, host, kv_bits=4)
    assert [transform.entry.id for transform in outcome.attached] == ["r4", "r3", "r3"]
    assert mean_kl(model, changed, TOKENS) < 1e-6


@pytest.mark.parametrize("without", ["across_heads", "r4"])
def test_without_an_online_hadamard_it_is_another_model(host, without):
    model = _model("gqa")
    changed = copy.deepcopy(model)
    prepared = _prepare(changed)
    entries = [entry for entry in prepared.transforms if entry.id == without]
    with pytest.raises(MissingTransform, match=f"'{without}'.*--ablate {without}"):
        attach_transforms(changed, entries, {}, Host(blocked=("builtin",)))
    outcome = attach_transforms(changed, prepared.transforms, {}, host, ablate=(without.upper(),))
    assert outcome.ablated == (without,)
    assert mean_kl(model, changed, TOKENS) > 0.02


def test_hessian_map_is_the_hessian_of_the_prepared_model(host):
    model = _model("biases")
    changed = copy.deepcopy(model)
    prepared = _prepare(changed)
    attach_transforms(changed, prepared.transforms, {}, host)
    assert_maps_hessians(prepared, model, changed, TOKENS)


def test_nine_heads_are_refused_with_the_way_out(host):
    model = _model("gqa", hidden_size=144, num_attention_heads=9, num_key_value_heads=3, head_dim=16)
    changed = copy.deepcopy(model)
    with pytest.raises(UnsupportedArchitecture, match=r"9 attention heads.*across_heads=false"):
        _prepare(changed)
    for (name, kept), parameter in zip(model.named_parameters(), changed.parameters(), strict=True):
        assert torch.equal(kept, parameter), name
    prepared = _prepare(changed, across_heads=False)
    attach_transforms(changed, prepared.transforms, {}, host)
    assert mean_kl(model, changed, TOKENS) < 1e-6


def test_sizes_without_a_hadamard_matrix_name_a_block_that_works(host):
    model = _model("mha_tied", hidden_size=56, num_attention_heads=4, num_key_value_heads=4, head_dim=16)
    model.config.hidden_size = 54
    with pytest.raises(UnsupportedArchitecture, match=r"size 54.*for instance 2"):
        _prepare(model)
