"""A QuaRot artifact: it carries its online Hadamards, runs only with them, and is the model that was quantized."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus
from qharness.calibration.store import collect_hessians
from qharness.errors import UsageError
from qharness.host import Host
from qharness.jobs.export import export_artifact
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord

TOKENS = torch.randint(0, 96, (8, 32), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def host():
    return Host()


def _model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.data.mul_(4 if parameter.dim() > 1 else 1)
    return model


def _loaded():
    model = _model()
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    return LoadedModel(model, words, "small", model_digest(model), torch.float32)


def _quantize(host, folder, stored=None, **options):
    loaded = _loaded()
    record = host.get(QuantizerRecord, "quarot")
    info = quantize_model(
        loaded,
        record,
        record.options(**{"group_size": 32, "clip_steps": 16, **options}),
        host=host,
        calibration=Corpus(TOKENS, "noise"),
        hessians=stored,
        seed=0,
        device="cpu",
        work=folder / "work",
        out=folder / "out",
        store_dtype=torch.float32,
    )
    return info, loaded.model


def _log_probabilities(model):
    with torch.no_grad():
        return model(TOKENS).logits.double().log_softmax(-1)


def _divergence(reference, model):
    return float((reference.exp() * (reference - _log_probabilities(model))).sum(-1).mean())


def test_the_artifact_is_the_quantized_model_and_needs_its_hadamards(host, tmp_path):
    original = _log_probabilities(_model())
    info, quantized = _quantize(host, tmp_path)
    whole = load_model(LoadRequest(reference=str(info.path), host=host))
    assert torch.allclose(_log_probabilities(whole.model), _log_probabilities(quantized), atol=1e-4)
    damage = _divergence(original, whole.model)
    for name in ("across_heads", "Across-Heads", "r4"):
        without = load_model(LoadRequest(reference=str(info.path), host=host, ablate=(name,)))
        assert without.ablated == (name.lower().replace("-", "_"),)
        assert _divergence(original, without.model) > 2 * damage
    config = json.loads((info.path / "config.json").read_text())["quantization_config"]
    assert [entry["id"] for entry in config["transforms"]] == ["r4", "across_heads", "r3", "r3"]
    with pytest.raises(UsageError, match="across_heads, r4"):
        export_artifact("gptq_v2", info.path, tmp_path / "gptq", host)


def test_the_artifact_is_read_in_a_fresh_process(host, tmp_path):
    info, quantized = _quantize(host, tmp_path)
    code = (
        "import sys, torch, qharness.hf; from transformers import AutoModelForCausalLM; "
        "m = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32); "
        "ids = torch.randint(0, 96, (8, 32), generator=torch.Generator().manual_seed(1)); "
        "print(float(m(ids).logits.double().log_softmax(-1)[..., 0].mean()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(info.path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(float(_log_probabilities(quantized)[..., 0].mean()), abs=1e-5)


def test_merged_only_artifacts_leave_for_other_software(host, tmp_path):
    info, quantized = _quantize(host, tmp_path, across_heads=False, r4=False)
    out = export_artifact("gptq_v2", info.path, tmp_path / "gptq", host)
    loaded = load_model(LoadRequest(reference=str(out), host=host))
    assert torch.allclose(_log_probabilities(loaded.model), _log_probabilities(quantized), atol=1e-4)


def test_stored_hessians_of_the_original_serve_the_rotated_model(host, tmp_path):
    original = _log_probabilities(_model())
    store = collect_hessians(_loaded(), Corpus(TOKENS, "noise"), tmp_path / "hessians")
    walked = _divergence(original, _quantize(host, tmp_path / "walked")[1])
    stored = _divergence(original, _quantize(host, tmp_path / "stored", store)[1])
    assert stored == pytest.approx(walked, rel=0.1)


def test_equal_seeds_give_equal_artifacts(host, tmp_path):
    first, second = (_quantize(host, tmp_path / name)[0].digest for name in ("first", "second"))
    assert first == second
