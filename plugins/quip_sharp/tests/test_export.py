"""Stacks of linears, their fine-tuning, and public checkpoints that load as the model that was quantized."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import qharness_demo
from qharness.artifacts.digest import model_digest
from qharness.artifacts.layout import TRANSFORM_TENSORS
from qharness.calibration.corpus import Corpus
from qharness.errors import UsageError
from qharness.hf import LoadingOptions, loading_options
from qharness.host import Host
from qharness.jobs.export import export_artifact
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness_quip_sharp.exporting import stack_name
from qharness_quip_sharp.fused import FusedLinear
from qharness_quip_sharp.loading import load_public

TOKENS = torch.randint(0, 96, (48, 24), generator=torch.Generator().manual_seed(0))
PUBLIC = {"fused": True, "row_scales": False, "hadamard": "public"}


def _loaded():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    return LoadedModel(model, None, "toy", model_digest(model), torch.float32)


def _quantize(folder, store=torch.float32, **options):
    host = Host()
    record = host.get(QuantizerRecord, "quip_sharp")
    settings = record.options(**{"iterations": 1, "scale": 0.9, "batch": 2, **options})
    return quantize_model(
        _loaded(), record, settings, host=host, calibration=Corpus(TOKENS, "random"), hessians=None, seed=0,
        device="cpu", work=folder / "work", out=folder / "artifact", store_dtype=store,
    ).path  # fmt: skip


def _read(path):
    with loading_options(LoadingOptions(Host())):
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def _logits(model):
    with torch.no_grad():
        return model(TOKENS).logits.float()


def _divergence(reference, found):
    reference, found = reference.log_softmax(-1), found.log_softmax(-1)
    return float((reference.exp() * (reference - found)).sum(-1).mean())


@pytest.mark.parametrize("options", [{}, {"bits": 3}, {"bits": 4}, {"epochs": 1, "sign_rate": 3e-3}], ids=str)
def test_a_public_checkpoint_is_the_artifact(tmp_path, options):
    path = _quantize(tmp_path, **PUBLIC, **options)
    out = export_artifact("quip", path, tmp_path / "public", Host())
    names = {name.rpartition(".")[0] for name in _stored(out)}
    assert "model.layers.1.self_attn.qkv_proj" in names and "model.layers.0.mlp.upgate_proj" in names
    assert not any("q_proj" in name or "gate_proj" in name.replace("upgate_proj", "") for name in names)
    params = json.loads((out / "config.json").read_text())["quip_params"]
    assert params["codebook"].startswith("E8P12") and params["codebook_version"] == 1
    source = Path(qharness_demo.__file__).parent / "model"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, out / name)
    found = _logits(load_public(LoadRequest(str(out), Host(), dtype="float32")).model)
    expected = _logits(_read(path))
    # Sign vectors with their scales, embeddings and head go through float16.
    assert torch.cosine_similarity(found.flatten(0, 1), expected.flatten(0, 1)).min() > 0.99999
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-2 * float(expected.std()))


def _stored(folder):
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return list(file.keys())


def test_what_the_layout_cannot_hold_is_refused_by_name(tmp_path):
    path = _quantize(tmp_path, fused=True, iterations=0)
    with pytest.raises(UsageError, match=r"quip_sharp\.fused=true .*row_scales=false .*hadamard=public"):
        export_artifact("quip", path, tmp_path / "public", Host())
    assert not (tmp_path / "public").exists()


def test_a_stack_is_stored_once_and_bites_as_well_as_single_linears(tmp_path):
    fused, single = (_read(_quantize(tmp_path / str(on), fused=on)) for on in (True, False))
    original = _logits(_loaded().model)
    assert _divergence(original, _logits(fused)) < 1.5 * _divergence(original, _logits(single))
    block = fused.model.layers[0]
    layers = [block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj]
    assert all(isinstance(layer, FusedLinear) for layer in layers)
    assert [bool(layer.shared) for layer in layers] == [False, True, True]
    assert sum(layers[1].stored_bits().values()) == 0
    assert layers[0].stored_bits()["payload"] == 2 * 64 * sum(layer.out_features for layer in layers)
    # The kernel of single linears would leave out the Hadamard across the stack.
    assert all(layer.packed() is None for layer in layers)
    assert single.model.layers[0].self_attn.q_proj.packed() is not None
    # Public order: up, then gate; the gate, first in the stage, stores.
    assert block.mlp.up_proj.member.start == 0 and block.mlp.gate_proj.member.start == 192
    assert not block.mlp.gate_proj.shared


def test_fine_tuning_trains_the_signs_of_stacks_and_the_norms(tmp_path):
    original = _logits(_loaded().model)
    rates = dict(fused=True, weight_rate=1e-3, sign_rate=3e-3)
    whole = dict(whole_epochs=4, whole_sign_rate=1e-3, whole_weight_rate=3e-4)
    stages = [{}, {"epochs": 4}, {"epochs": 4, **whole}]
    models = [_read(_quantize(tmp_path / str(i), **rates, **stage)) for i, stage in enumerate(stages)]
    divergences = [_divergence(original, _logits(model)) for model in models]
    assert divergences[1] < 0.8 * divergences[0] and divergences[2] < 0.95 * divergences[1]
    signs = [model.model.layers[1].self_attn.k_proj.get_buffer("signs") for model in models]
    assert [vector.dtype for vector in signs] == [torch.int8, torch.float16, torch.float16]
    norms = [model.model.norm.weight for model in models]
    assert torch.equal(norms[0], norms[1]) and not torch.equal(norms[1], norms[2])


def test_a_narrow_artifact_keeps_what_training_changed_in_norms(tmp_path):
    rates = dict(whole_epochs=3, whole_sign_rate=0.0, whole_weight_rate=5e-4)
    wide, narrow = (_quantize(tmp_path / str(kind), kind, **rates) for kind in (torch.float32, torch.bfloat16))
    models, original = [_read(path) for path in (wide, narrow)], _read(_quantize(tmp_path / "before"))
    names = ["model.norm", "model.layers.1.input_layernorm", "model.layers.0.post_attention_layernorm"]
    for name in names:
        before, *found = (model.get_submodule(name).weight for model in (original, *models))
        assert torch.equal(*found) and not torch.equal(before, found[0])
    assert not torch.equal(models[1].model.norm.weight, models[1].model.norm.weight.bfloat16().float())
    block = models[1].model.layers[1].input_layernorm.weight
    assert torch.equal(block, block.bfloat16().float())
    with safe_open(narrow / TRANSFORM_TENSORS, framework="pt") as file:
        signs = file.get_tensor("model.layers.1.self_attn.q_proj.input_signs").float()
    assert 0 < (signs.abs() - 1).abs().max() < 2**-7


def test_public_names():
    assert stack_name("model.layers.3.self_attn.v_proj") == "model.layers.3.self_attn.qkv_proj"
    assert stack_name("model.layers.3.mlp.gate_proj") == "model.layers.3.mlp.upgate_proj"
    assert stack_name("model.layers.3.mlp.down_proj") == "model.layers.3.mlp.down_proj"
