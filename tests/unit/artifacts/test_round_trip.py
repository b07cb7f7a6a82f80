from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qharness.artifacts.digest import files_digest, model_digest
from qharness.artifacts.reader import is_artifact, read_artifact
from qharness.artifacts.writer import write_artifact
from qharness.errors import CorruptArtifact, MissingTransform, PluginError, UnknownName, Unwritable, UsageError
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness.transforms.attach import attach_transforms
from qharness.transforms.contract import hadamard_entry
from qharness_kernels.hadamard import hadamard_transform

DOWN = "model.layers.*.mlp.down_proj"


def quantize(model, toy):
    names = [
        name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and name != "lm_head"
    ]
    return {name: toy.RowLinear.quantize(model.get_submodule(name)) for name in names}


def fuse_r4(model, signs=None, block=None):
    for layer in model.model.layers:
        weight = layer.mlp.down_proj.weight
        fused = hadamard_transform(weight.detach().double(), block=block, signs=signs)
        weight.data.copy_(fused)


@pytest.fixture
def write(make, toy, tokenizer, tmp_path):
    def build(name="artifact", family="mistral", signs=False, block=None, tie=False, bias=False, **options):
        model = make(family, tie_word_embeddings=tie, **({"attention_bias": True} if bias else {}))
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                torch.nn.init.normal_(parameter)
        vector = torch.randint(0, 2, (96,), generator=torch.Generator().manual_seed(3)) * 2 - 1 if signs else None
        fuse_r4(model, vector, block)
        entry = hadamard_entry(
            id="r4", modules=DOWN, site="linear_input", size=96, block=block,
            signs="r4.signs" if signs else None, sign_vector=vector,
        )  # fmt: skip
        tensors = {"r4.signs": vector.to(torch.int8)} if signs else {}
        quantized = quantize(model, toy)
        info = write_artifact(
            tmp_path / name, model=model, tokenizer=tokenizer, quantized=quantized, quantizer="toy",
            plugin_version="0.1", options={"bits": 8}, transforms=[entry], tensors=tensors,
            provenance={"base": {"reference": "random"}, "seed": 0}, nominal_bits=8.0, **options,
        )  # fmt: skip
        for module_name, module in quantized.items():
            model.set_submodule(module_name, module)
        return model, info, entry, tensors

    return build


def logits(model, ids):
    with torch.no_grad():
        return model(ids).logits


@pytest.mark.parametrize(
    "variant", [{}, {"signs": True}, {"block": 12}, {"family": "llama", "bias": True}, {"tie": True}]
)
def test_loaded_artifact_has_the_logits_of_the_model_that_was_saved(write, host, ids, variant) -> None:
    model, info, entry, tensors = write(**variant)
    attach_transforms(model, [entry], tensors, host)
    loaded = load_model(LoadRequest(str(info.path), host))
    assert torch.equal(logits(loaded.model, ids), logits(model, ids))
    assert loaded.digest == info.digest
    assert [t.entry.id for t in loaded.transforms] == ["r4"]
    assert loaded.tokenizer("w5 w6")["input_ids"] == [5, 6]


def test_narrow_activations_keep_the_stored_tensors(write, host, ids) -> None:
    _, info, _, _ = write(family="llama", bias=True)
    loaded = load_model(LoadRequest(str(info.path), host, dtype="bfloat16"))
    layer = loaded.model.model.layers[0].self_attn.q_proj
    assert loaded.dtype == layer.bias.dtype == torch.bfloat16
    assert layer.scales.dtype == torch.float16 and layer.codes.dtype == torch.int8
    wide = load_model(LoadRequest(str(info.path), host))
    assert loaded.digest == wide.digest
    reference = logits(wide.model, ids).log_softmax(-1)
    narrow = logits(loaded.model, ids).float().log_softmax(-1)
    assert (reference.exp() * (reference - narrow)).sum(-1).mean() < 0.01


def test_hub_repository_with_an_artifact_is_loaded_as_one(write, host, ids, monkeypatch) -> None:
    import huggingface_hub

    _, info, _, _ = write()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(info.path))
    loaded = load_model(LoadRequest("someone/quantized", host, ablate=("r4",)))
    assert (loaded.reference, loaded.digest, loaded.ablated) == ("someone/quantized", info.digest, ("r4",))


def test_logits_survive_a_fresh_process(write, host, ids, tmp_path) -> None:
    model, info, entry, tensors = write(signs=True)
    attach_transforms(model, [entry], tensors, host)
    save_file({"ids": ids, "logits": logits(model, ids)}, tmp_path / "expected.safetensors")
    script = """
import sys
sys.path.insert(0, sys.argv[3])
import torch, toy_plugin
from qharness import builtin
from qharness.host import Host
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from safetensors.torch import load_file
plain = Host()
extra = {} if any(s.name == "builtin" for s in plain.status) else {"builtin": builtin}
expected = load_file(sys.argv[2])
loaded = load_model(LoadRequest(sys.argv[1], Host(extra={**extra, "toy": toy_plugin})))
with torch.no_grad():
    difference = (loaded.model(expected["ids"]).logits - expected["logits"]).abs().max()
print(float(difference), loaded.digest)
"""
    folder = Path(__file__).parents[1]
    arguments = [str(info.path), str(tmp_path / "expected.safetensors"), str(folder)]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    difference, digest = done.stdout.split()[-2:]
    assert float(difference) < 1e-5
    assert digest == info.digest


def test_auto_model_gives_the_same_model_and_fails_closed(write, host, ids) -> None:
    from transformers import AutoModelForCausalLM

    from qharness.hf import LoadingOptions, loading_options

    _, info, _, _ = write()
    expected = load_model(LoadRequest(str(info.path), host))
    with loading_options(LoadingOptions(host)):
        model = AutoModelForCausalLM.from_pretrained(info.path)
    assert torch.equal(logits(model, ids), logits(expected.model, ids))

    from qharness.host import Host

    bare = Host(extra={"toy": host.manager.get_plugin("toy")}, blocked=[s.name for s in Host().status])
    with loading_options(LoadingOptions(bare)), pytest.raises(MissingTransform, match="no installed plugin provides"):
        AutoModelForCausalLM.from_pretrained(info.path)


def test_missing_plugin_is_named(write) -> None:
    from qharness.host import Host

    _, info, _, _ = write()
    from qharness.artifacts.loading import load_artifact

    with pytest.raises(PluginError, match="needs the plugin 'toy'"):
        load_artifact(LoadRequest(str(info.path), Host()))


def test_ablation_leaves_the_transform_out_and_destroys_the_model(write, host, ids) -> None:
    _, info, _, _ = write()
    whole = load_model(LoadRequest(str(info.path), host))
    without = load_model(LoadRequest(str(info.path), host, ablate=("R4",)))
    assert without.ablated == ("r4",) and not without.transforms
    assert (logits(whole.model, ids) - logits(without.model, ids)).abs().max() > 0.1
    with pytest.raises(UnknownName, match="r4"):
        load_model(LoadRequest(str(info.path), host, ablate=("r5",)))


def test_same_input_gives_the_same_digest_and_other_options_another(write) -> None:
    digests = [write(name)[1].digest for name in ("a", "b")]
    assert digests[0] == digests[1]
    assert write("c", signs=True)[1].digest != digests[0]


def test_shards_and_single_file_have_one_digest(write, host, ids) -> None:
    _, whole, _, _ = write("whole")
    _, split, _, _ = write("split", shard_size=20_000)
    assert len(list(split.path.glob("model-*.safetensors"))) > 1
    assert split.digest == whole.digest
    assert torch.equal(
        logits(load_model(LoadRequest(str(split.path), host)).model, ids),
        logits(load_model(LoadRequest(str(whole.path), host)).model, ids),
    )


def test_bits_count_everything(write) -> None:
    model, info, _, _ = write(signs=True)
    linears = [m for m in model.modules() if type(m).__name__ == "RowLinear"]
    weights = sum(m.in_features * m.out_features for m in linears)
    rows = sum(m.out_features for m in linears)
    assert info.stored_bpw == pytest.approx(8 + (16 * rows + 8 * 96) / weights, abs=1e-12)
    others = 2 * 96 * 64 + 5 * 64
    assert info.model_bpw == pytest.approx((8 * weights + 16 * rows + 8 * 96 + 32 * others) / (weights + others))
    stored = sum(path.stat().st_size for path in info.path.glob("*.safetensors"))
    assert info.size_bytes == stored
    assert 8 * stored > info.model_bpw * (weights + others)
    manifest = json.loads((info.path / "manifest.json").read_text())
    assert manifest["nominal_bits"] == 8.0
    assert manifest["bits"]["modules"]["model.layers.0.mlp.down_proj"] == {"payload": 8 * 96 * 64, "scales": 16 * 64}


def test_failed_write_leaves_nothing(write, make, toy, tokenizer, tmp_path) -> None:
    write()
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(Unwritable, match="already exists"):
        write()
    model = make()
    with pytest.raises(UsageError, match="JSON-able"):
        write_artifact(
            tmp_path / "bad", model=model, tokenizer=tokenizer, quantized=quantize(model, toy), quantizer="toy",
            plugin_version="0", options={"x": object()}, transforms=[], tensors={}, provenance={},
        )  # fmt: skip
    with pytest.raises(UsageError, match="JSON-able"):
        write_artifact(
            tmp_path / "bad", model=model, tokenizer=tokenizer, quantized=quantize(model, toy), quantizer="toy",
            plugin_version="0", options={}, transforms=[], tensors={}, provenance={"x": object()},
        )  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_untied_values_under_a_tied_configuration_are_refused(make, toy, tokenizer, tmp_path) -> None:
    model = make(tie_word_embeddings=True)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() * 2)
    with pytest.raises(UsageError, match="tie_word_embeddings"):
        write_artifact(
            tmp_path / "bad", model=model, tokenizer=tokenizer, quantized={}, quantizer="toy", plugin_version="0",
            options={}, transforms=[], tensors={}, provenance={},
        )  # fmt: skip


def test_artifact_without_manifest_is_unfinished(write, host) -> None:
    _, info, _, _ = write()
    (info.path / "manifest.json").unlink()
    assert is_artifact(info.path)
    with pytest.raises(CorruptArtifact, match="unfinished"):
        load_model(LoadRequest(str(info.path), host))


def test_truncated_weights_are_found_before_use(write, host) -> None:
    _, info, _, _ = write()
    weights = info.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptArtifact, match="truncated"):
        load_model(LoadRequest(str(info.path), host))


@pytest.mark.parametrize("field", ["fingerprint", "sha256", "required", "modules", "unknown"])
def test_tampered_contract_is_refused(write, host, field) -> None:
    _, info, _, _ = write()
    path = info.path / "config.json"
    config = json.loads(path.read_text())
    entry = config["quantization_config"]["transforms"][0]
    match field:
        case "fingerprint":
            entry["fingerprint"][0] += 0.1
        case "sha256":
            entry["map"]["sha256"] = "0" * 64
        case "required":
            entry["required"] = False
        case "modules":
            entry["modules"] = "nothing"
        case _:
            entry["later"] = 1
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text)
    manifest = json.loads((info.path / "manifest.json").read_text())
    manifest["files"]["config.json"] = len(text.encode())
    (info.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptArtifact, match="contradicts"):
        load_model(LoadRequest(str(info.path), host))


def test_tampered_sign_is_refused_by_the_fingerprint_and_by_the_digest(write, host) -> None:
    _, info, _, _ = write(signs=True)
    path = info.path / "transforms.safetensors"
    signs = load_file(path)["r4.signs"].clone()
    signs[17] *= -1
    save_file({"r4.signs": signs}, path, metadata={"format": "pt"})
    with pytest.raises(MissingTransform, match="fingerprint"):
        load_model(LoadRequest(str(info.path), host))
    with pytest.raises(CorruptArtifact, match="manifest"):
        read_artifact(info.path).verify()


def test_model_digest_equals_that_of_its_files(make, tmp_path) -> None:
    for tie in (False, True):
        model = make(tie_word_embeddings=tie).to(torch.bfloat16)
        model.save_pretrained(tmp_path / str(tie))
        assert model_digest(model) == files_digest(tmp_path / str(tie))
        before = model_digest(model)
        model.model.norm.weight.data[3] += 1
        assert model_digest(model) != before
