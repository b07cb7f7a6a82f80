"""Butterflies on a small model: the function is kept, the contract holds, and without the transform nothing is left."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus
from qharness.errors import MissingData, MissingTransform
from qharness.host import Host
from qharness.models.architecture import architecture_of
from qharness.models.loaded import LoadedModel
from qharness.quantization.base import ModelContext
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness.transforms.attach import attach_transforms
from qharness_butterfly.options import Options
from qharness_butterfly.quantizer import ButterflyQuant
from qharness_butterfly.transform import ButterflyTransform

FAST = {"steps": 6, "rows": 64, "tokens": 32}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def host():
    return Host()


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        sliding_window=None,
        tie_word_embeddings=False,
    )
    return MistralForCausalLM(config).eval()


@pytest.fixture(scope="module")
def corpus():
    return Corpus(torch.randint(0, 64, (16, 32), generator=torch.Generator().manual_seed(1)), "random")


def _logits(model):
    tokens = torch.randint(0, 64, (4, 24), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return model(tokens).logits.float()


def _prepare(original, corpus, tmp_path, **options):
    model = copy.deepcopy(original)
    context = ModelContext(architecture_of(model.config), corpus.tokens, 0, "cpu", tmp_path, lambda *_: None)
    return model, ButterflyQuant(Options(**(FAST | options))).prepare(model, context)


def _quantize(original, corpus, host, folder, name, **options):
    loaded = LoadedModel(copy.deepcopy(original), None, "small", model_digest(original), torch.float32)
    record = host.get(QuantizerRecord, name)
    return quantize_model(
        loaded,
        record,
        record.options(**(FAST | options)),
        host=host,
        calibration=corpus,
        hessians=None,
        seed=0,
        device="cpu",
        work=folder / "work",
        out=folder / name,
        store_dtype=torch.float32,
    )


@pytest.mark.parametrize("start", ["identity", "hadamard"])
def test_rotation_and_runtime_transform_cancel(original, corpus, host, tmp_path, start):
    model, prepared = _prepare(original, corpus, tmp_path, start=start)
    assert any(float(t.abs().max()) > 1e-3 for t in prepared.tensors.values())
    broken = _logits(model)
    attached = attach_transforms(model, prepared.transforms, prepared.tensors, host)
    assert len(attached.attached) == 7
    torch.testing.assert_close(_logits(model), _logits(original), rtol=0, atol=1e-4)
    if start == "hadamard":
        assert float((broken - _logits(original)).abs().max()) > 0.05
    assert prepared.notes["output_error_after"] < prepared.notes["output_error_before"]


def test_hessians_of_the_original_are_those_of_the_rotated_input(original, corpus, tmp_path):
    _, prepared = _prepare(original, corpus, tmp_path, start="hadamard")
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(200, 96, generator=generator)
    name = "model.layers.1.mlp.down_proj"
    entry = next(entry for entry in prepared.transforms if entry.modules.endswith("down_proj"))
    y = ButterflyTransform(entry, prepared.tensors).of(name)(x)
    torch.testing.assert_close(prepared.hessian_map(name, x.T @ x / 200), y.T @ y / 200, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["butterfly", "butterfly_e8p"])
def test_with_the_inverse_the_model_is_kept_and_without_it_is_lost(original, corpus, host, tmp_path, name):
    options = {"start": "hadamard"} | ({"bits": 4} if name == "butterfly" else {})
    info = _quantize(original, corpus, host, tmp_path, name, **options)
    loaded = _load(info.path, host)
    wanted = _logits(original)
    error = float((_logits(loaded.model) - wanted).square().mean() / wanted.square().mean())
    ablated = _load(info.path, host, ablate=("butterfly",))
    lost = float((_logits(ablated.model) - wanted).square().mean() / wanted.square().mean())
    assert error < (0.05 if name == "butterfly" else 0.5) and lost > 4 * error
    assert ablated.ablated == ("butterfly",)


def _load(path, host, ablate=()):
    from transformers import AutoModelForCausalLM

    from qharness.hf import LoadingOptions, loading_options, outcome_of

    with loading_options(LoadingOptions(host, ablate, 16)):
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    return type("Loaded", (), {"model": model, "ablated": outcome_of(model).ablated})


def test_artifact_without_its_angles_is_refused(original, corpus, host, tmp_path):
    model, prepared = _prepare(original, corpus, tmp_path)
    first = prepared.transforms[0]
    with pytest.raises(MissingTransform, match="no angles"):
        attach_transforms(model, prepared.transforms, {}, host)
    name = next(name for name in prepared.tensors if name.endswith("q_proj.angles"))
    bent = dict(prepared.tensors)
    bent[name] = bent[name] + 0.01
    with pytest.raises(MissingTransform, match="fingerprint"):
        attach_transforms(model, prepared.transforms, bent, host)
    fewer = {key: value for key, value in prepared.tensors.items() if ".1." not in key}
    with pytest.raises(MissingTransform):
        attach_transforms(model, [first], fewer, host)


def test_same_seed_same_artifact(original, corpus, host, tmp_path):
    digests = {_quantize(original, corpus, host, tmp_path / part, "butterfly", steps=2).digest for part in ("a", "b")}
    assert len(digests) == 1


def test_text_is_asked_for(original, tmp_path):
    with pytest.raises(MissingData, match="--text"):
        _prepare(original, Corpus(torch.empty(0, 0, dtype=torch.int64), "none"), tmp_path)


def test_learning_lowers_the_error_from_both_starts(original, corpus, tmp_path):
    errors = {}
    for start in ("identity", "hadamard"):
        _, prepared = _prepare(original, corpus, tmp_path, start=start, steps=24, rate=20.0)
        errors[start] = prepared.notes["output_error_after"] / prepared.notes["output_error_before"]
    assert all(ratio < 0.97 and math.isfinite(ratio) for ratio in errors.values())
