"""VPTQ of a model: shared codebooks in the artifact, resumption, equal reruns, warnings, the public format."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import qharness_vptq
from qharness import builtin
from qharness.artifacts.digest import model_digest
from qharness.artifacts.reader import read_artifact
from qharness.calibration.corpus import Corpus
from qharness.errors import CorruptArtifact, UsageError
from qharness.host import Host
from qharness.jobs.export import export_artifact
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.checkpoint import QuantizedBlock, load_block, save_block
from qharness.quantization.options import options_from
from qharness.quantization.packing import unpack
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness_vptq.linear import VptqLinear

FULL = {
    "vector_len": 4,
    "centroids": 16,
    "res_centroids": 8,
    "groups": 2,
    "outliers": 3.0,
    "outlier_centroids": 16,
    "norm": "minmax",
    "iterations": 4,
}
SMALL = {"vector_len": 2, "iterations": 4}


@pytest.fixture(scope="module")
def host():
    installed = {status.name for status in Host().status}
    wanted = {"builtin": builtin, "vptq": qharness_vptq}
    return Host(extra={name: plugin for name, plugin in wanted.items() if name not in installed})


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    raw = Tokenizer(models.WordLevel({"<unk>": 0} | {f"w{i}": i for i in range(1, 64)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")


def _model(tokenizer, bias=False):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, attention_bias=bias,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "embed" not in name:
            torch.nn.init.normal_(parameter, std=0.15)
    return LoadedModel(model, tokenizer, "toy", model_digest(model), torch.float32)


def _tokens(samples=8):
    return torch.randint(0, 64, (samples, 32), generator=torch.Generator().manual_seed(1))


def _quantize(host, tokenizer, folder, seed=0, bias=False, samples=8, **options):
    record = host.get(QuantizerRecord, "vptq")
    return quantize_model(
        _model(tokenizer, bias),
        record,
        record.options(**options),
        host=host,
        calibration=Corpus(_tokens(samples), "toy"),
        hessians=None,
        seed=seed,
        device="cpu",
        work=folder / "work",
        out=folder / "artifact",
        store_dtype=torch.float32,
    )


def _logits(host, path):
    with torch.no_grad():
        return load_model(LoadRequest(str(path), host)).model(_tokens()).logits


def test_shared_codebooks_are_stored_once(host, tokenizer, tmp_path):
    bits = {}
    for share in ("none", "kv", "input"):
        info = _quantize(host, tokenizer, tmp_path / share, share=share, **SMALL)
        modules = json.loads((info.path / "manifest.json").read_text())["bits"]["modules"]
        with_books = {name.rpartition(".")[2] for name, parts in modules.items() if parts.get("codebooks")}
        bits[share] = info.stored_bpw
        assert (
            with_books
            == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
            - {
                "none": set(),
                "kv": {"v_proj"},
                "input": {"k_proj", "v_proj", "up_proj"},
            }[share]
        )
        assert json.loads((info.path / "manifest.json").read_text())["nominal_bits"] == 2
    assert bits["none"] > bits["kv"] > bits["input"] > 2


@pytest.mark.parametrize("options", [SMALL, FULL], ids=["small", "full"])
def test_artifact_and_public_checkpoint_give_the_same_logits_in_another_process(host, tokenizer, tmp_path, options):
    info = _quantize(host, tokenizer, tmp_path, bias=True, **options)
    expected = _logits(host, info.path)
    folder = export_artifact("vptq", info.path, tmp_path / "public", host)
    code = """
import sys, torch
from safetensors.torch import save_file
from qharness.host import Host
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
torch.set_num_threads(1)
tokens = torch.randint(0, 64, (8, 32), generator=torch.Generator().manual_seed(1))
found = {}
for name in sys.argv[2:]:
    model = load_model(LoadRequest(name, Host())).model
    assert any(type(m).__name__ == "VptqLinear" for m in model.modules())
    with torch.no_grad():
        found[name] = model(tokens).logits.clone()
save_file(found, sys.argv[1])
"""
    command = [sys.executable, "-c", code, str(tmp_path / "logits"), str(info.path), str(folder)]
    subprocess.run(command, check=True)
    for logits in load_file(tmp_path / "logits").values():
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_unpacked_indices_and_layer_tails_of_older_checkpoints_are_read(host, tokenizer, tmp_path):
    info = _quantize(host, tokenizer, tmp_path, share="none", **FULL)
    folder = export_artifact("vptq", info.path, tmp_path / "public", host)
    config = json.loads((folder / "config.json").read_text())
    entries, tensors = config["quantization_config"].pop("config_for_layers"), load_file(folder / "model.safetensors")
    for name, entry in entries.items():
        joint = unpack(tensors[f"{name}.indices"], 7, entry["group_size"]).long()
        tensors[f"{name}.indices"] = (joint & 15).to(torch.int16)
        tensors[f"{name}.res_indices"] = (joint >> 4).to(torch.int16)
        tensors[f"{name}.perm"] = tensors[f"{name}.perm"].long()
        entry["is_indice_packed"] = False
    config["quantization_config"]["shared_layer_config"] = {
        name.rpartition(".")[2]: entry for name, entry in entries.items()
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(_logits(host, folder), _logits(host, info.path))


def test_a_checkpoint_without_its_codebook_is_refused(host, tokenizer, tmp_path):
    info = _quantize(host, tokenizer, tmp_path, **SMALL)
    folder = export_artifact("vptq", info.path, tmp_path / "public", host)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.centroids.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptArtifact, match="centroids"):
        load_model(LoadRequest(str(folder), host))


def test_equal_runs_give_equal_artifacts_and_seeds_matter(host, tokenizer, tmp_path):
    digests = [
        _quantize(host, tokenizer, tmp_path / str(i), seed=seed, **FULL).digest for i, seed in enumerate((0, 0, 1))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_checkpoint_of_a_block_finds_shared_codebooks_again(host, tokenizer, tmp_path):
    info = _quantize(host, tokenizer, tmp_path, **SMALL)
    artifact = read_artifact(info.path)
    model = load_model(LoadRequest(str(info.path), host)).model
    linears = {
        name.removeprefix("model.layers.0."): model.get_submodule(name)
        for name in artifact.modules
        if name.startswith("model.layers.0.")
    }
    save_block(tmp_path, 0, QuantizedBlock(linears, {}, {}))
    again = load_block(tmp_path, 0, VptqLinear)
    assert again is not None
    for name, linear in linears.items():
        assert torch.equal(again.linears[name].dequantize(), linear.dequantize())
        assert again.linears[name].shared == linear.shared
    assert again.linears["self_attn.v_proj"].shared["centroids"] == "model.layers.0.self_attn.q_proj"


def test_a_codebook_larger_than_its_indices_is_named_with_the_remedy(host, tokenizer, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        _quantize(
            host, tokenizer, tmp_path / "large", vector_len=4, centroids=256, share="none", iterations=2, sweeps=0
        )
    messages = [record.getMessage() for record in caplog.records]
    assert any("model.layers.0.self_attn.k_proj" in message and "vptq.centroids" in message for message in messages)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        _quantize(host, tokenizer, tmp_path / "small", iterations=2, sweeps=0)
    assert not [record for record in caplog.records if record.name.startswith("qharness_vptq")]


def test_transformers_accepts_the_configuration(host, tokenizer, tmp_path):
    from transformers import VptqConfig

    info = _quantize(host, tokenizer, tmp_path, **SMALL)
    folder = export_artifact("vptq", info.path, tmp_path / "public", host)
    entry = json.loads((folder / "config.json").read_text())["quantization_config"]
    config = VptqConfig(**entry)
    assert config.modules_to_not_convert == ["lm_head"]
    assert set(config.config_for_layers) == set(read_artifact(info.path).modules)


@pytest.mark.parametrize(
    "options",
    [{"centroids": "100", "vector_len": "4"}, {"centroids": "256"}, {"vector_len": "12"}, {"outliers": "120"}],
)
def test_impossible_options_are_usage_errors(host, options):
    with pytest.raises(UsageError, match="vptq"):
        options_from(host.get(QuantizerRecord, "vptq"), options)


def test_fine_tuning_lowers_the_error_of_every_block_and_keeps_what_is_shared(host, tokenizer, tmp_path):
    info = _quantize(host, tokenizer, tmp_path, samples=48, epochs=2, rate=1e-3, norm="rms", **SMALL)
    layers = json.loads((info.path / "manifest.json").read_text())["layers"]
    tuned = [values for values in layers.values() if values.get("tuning_before")]
    assert len(tuned) == 2 and all(values["tuning_after"] < values["tuning_before"] for values in tuned)
    model = load_model(LoadRequest(str(info.path), host)).model
    attention = model.model.layers[1].self_attn
    assert torch.equal(attention.q_proj.centroids, attention.v_proj.centroids)
    plain = _quantize(host, tokenizer, tmp_path / "plain", samples=48, norm="rms", **SMALL)
    untuned = load_model(LoadRequest(str(plain.path), host)).model.model.layers[1].self_attn.q_proj
    assert not torch.equal(untuned.centroids, attention.q_proj.centroids)
    assert torch.equal(untuned.indices, attention.q_proj.indices)


def test_fine_tuning_end_to_end_lowers_the_divergence_from_the_original(host, tokenizer, tmp_path):
    info = _quantize(host, tokenizer, tmp_path, samples=48, whole_epochs=3, whole_rate=1e-3, norm="rms", **SMALL)
    manifest = json.loads((info.path / "manifest.json").read_text())
    told = manifest["notes"]["end_to_end"]
    assert told["after"] < told["before"] and told["epoch"] > 0
    original = _model(tokenizer).model
    plain = _quantize(host, tokenizer, tmp_path / "plain", samples=48, norm="rms", **SMALL)
    tokens = _tokens(64)[48:]
    with torch.no_grad():
        wanted = original(tokens).logits.log_softmax(-1)
        kl = {
            path: torch.nn.functional.kl_div(
                load_model(LoadRequest(str(path), host)).model(tokens).logits.log_softmax(-1),
                wanted,
                log_target=True,
                reduction="batchmean",
            )
            for path in (info.path, plain.path)
        }
    assert kl[info.path] < kl[plain.path]
    attention = load_model(LoadRequest(str(info.path), host)).model.model.layers[1].self_attn
    assert torch.equal(attention.q_proj.centroids, attention.v_proj.centroids)
