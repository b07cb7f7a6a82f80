"""Artifact -> checkpoint -> loader: equal answers, in a fresh process too."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from qharness.artifacts.bits import account_of
from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus
from qharness.errors import CorruptArtifact, UnsupportedArchitecture, UsageError
from qharness.host import Host
from qharness.jobs.export import export_artifact
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord

IDS = torch.randint(0, 96, (2, 12), generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def host():
    return Host()


def _tokenizer():
    from tokenizers import Tokenizer, models

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "<s>": 1}, unk_token="a")))


def _quantize(host, folder, *, tied=True, **options):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        attention_bias=True,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.mul(4).bfloat16().float()
    loaded = LoadedModel(model, _tokenizer(), "small", model_digest(model), torch.float32)
    record = host.get(QuantizerRecord, "gptq")
    corpus = Corpus(torch.randint(0, 96, (8, 32), generator=torch.Generator().manual_seed(1)), "noise")
    options = {"group_size": 32, "clip_steps": 8} | options
    quantize_model(
        loaded,
        record,
        record.options(**options),
        host=host,
        calibration=corpus,
        hessians=None,
        seed=0,
        device="cpu",
        work=folder / "work",
        out=folder / "artifact",
    )
    return folder / "artifact"


def _logits(reference, host, dtype="float32"):
    with torch.no_grad():
        return load_model(LoadRequest(reference=str(reference), host=host, dtype=dtype)).model(IDS).logits


@pytest.mark.parametrize("form", ["gptq", "gptq_v2"])
@pytest.mark.parametrize(
    "options",
    [{}, {"act_order": "columns"}, {"grid": "symmetric", "tied": False}, {"rotation": "hadamard"}],
    ids=["asymmetric", "g_idx", "symmetric", "rotated"],
)
def test_a_checkpoint_answers_as_its_artifact(host, tmp_path, form, options):
    artifact = _quantize(host, tmp_path, **options)
    out = export_artifact(form, artifact, tmp_path / "out", host)
    assert torch.equal(_logits(out, host), _logits(artifact, host))
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    assert config == json.loads((out / "quantize_config.json").read_text())
    assert (config["quant_method"], config["checkpoint_format"]) == ("gptq", form)
    assert config["desc_act"] == ("act_order" in options) and config["sym"] == ("grid" in options)
    assert not (out / "manifest.json").exists()
    stored = json.loads((artifact / "manifest.json").read_text())
    found = account_of(load_model(LoadRequest(reference=str(out), host=host, dtype="auto")).model)
    assert found.quantized_weights == stored["bits"]["quantized_weights"]
    zeros = 2 / 32 if "grid" in options else 0
    assert found.stored_bpw == pytest.approx(stored["stored_bpw"] + zeros)


def test_a_checkpoint_is_read_in_a_fresh_process(host, tmp_path):
    out = export_artifact("gptq_v2", _quantize(host, tmp_path), tmp_path / "out", host)
    code = (
        "import sys, torch; from qharness.host import Host; from qharness.models.loading import load_model; "
        "from qharness.models.loaded import LoadRequest; "
        "m = load_model(LoadRequest(reference=sys.argv[1], host=Host())); "
        "ids = torch.randint(0, 96, (2, 12), generator=torch.Generator().manual_seed(3)); "
        "print(m.digest, float(m.model(ids).logits.double().sum()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=True)
    digest, total = done.stdout.split()
    again = load_model(LoadRequest(reference=str(out), host=host))
    assert digest == again.digest
    assert float(total) == pytest.approx(float(_logits(out, host).double().sum()), abs=1e-4)


def test_types_follow_the_request(host, tmp_path):
    out = export_artifact("gptq", _quantize(host, tmp_path), tmp_path / "out", host)
    assert _logits(out, host, "auto").dtype == torch.bfloat16
    wanted = _logits(out, host)
    assert (_logits(out, host, "float64") - wanted).abs().max() < 1e-4


def test_what_a_checkpoint_cannot_hold_is_refused_and_nothing_is_written(host, tmp_path):
    for index, (options, reason) in enumerate(
        [({"grid": "midrise"}, "integer zeros"), ({"group_size": 48}, "one group size")]
    ):
        folder = tmp_path / str(index)
        with pytest.raises(UsageError, match=reason):
            export_artifact("gptq_v2", _quantize(host, folder, **options), folder / "out", host)
        assert sorted(path.name for path in folder.iterdir()) == ["artifact", "work"]


def test_damaged_and_foreign_checkpoints_are_named(host, tmp_path):
    out = export_artifact("gptq_v2", _quantize(host, tmp_path), tmp_path / "out", host)
    tensors = load_file(out / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.qzeros"
    save_file({k: v for k, v in tensors.items() if k != name}, out / "model.safetensors")
    with pytest.raises(CorruptArtifact, match="qzeros"):
        _logits(out, host)
    norm = "model.layers.0.input_layernorm.weight"
    save_file({k: v for k, v in tensors.items() if k != norm}, out / "model.safetensors")
    with pytest.raises(CorruptArtifact, match="input_layernorm"):
        _logits(out, host)
    with pytest.raises(UsageError, match="no runtime transforms"):
        load_model(LoadRequest(reference=str(out), host=host, ablate=("r4",)))
    config = json.loads((out / "config.json").read_text())
    config["quantization_config"]["checkpoint_format"] = "marlin"
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedArchitecture, match="marlin"):
        _logits(out, host)
