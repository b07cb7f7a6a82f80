"""The exporter `fp16`: transformers alone loads what it writes, and computes what the artifact does."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from qharness.artifacts.plain import CannotFold
from qharness.artifacts.writer import write_artifact
from qharness.jobs.export import export_artifact
from qharness.models.architecture import architecture_of
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.incoherence import process_model
from qharness.transforms.contract import hadamard_entry
from qharness_kernels.hadamard import hadamard_transform

ALONE = """
import sys
sys.modules["qharness"] = None  # any import of it fails
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
assert not report["missing_keys"] and not report["unexpected_keys"], report
assert not hasattr(model.config, "quantization_config") and AutoTokenizer.from_pretrained(folder)("a")
with torch.no_grad():
    save_file({"logits": model(load_file(folder + ".ids")["ids"]).logits}, folder + ".logits")
"""


def alone(folder, ids):
    """Return the logits of a plain model in a process that cannot import qharness."""
    save_file({"ids": ids}, f"{folder}.ids")
    done = subprocess.run([sys.executable, "-c", ALONE, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load_file(f"{folder}.logits")["logits"]


def agree(found, expected):
    found, expected = found.flatten(0, 1).double(), expected.flatten(0, 1).double()
    assert torch.cosine_similarity(found, expected).min() >= 0.99999
    # Logits of a random model lie close together: float16 weights may swap those nearer than it can tell apart.
    gaps = -expected.topk(6).values.diff(dim=1)
    clear = gaps.amin(1) > 5e-3 * expected.std()
    assert clear.sum() > len(clear) / 4
    assert torch.equal(found.topk(5).indices[clear], expected.topk(5).indices[clear])


@pytest.fixture
def write(make, toy, tokenizer, tmp_path):
    def build(entries, tensors, model):
        names = [name for name in architecture_of(model.config).linears(2)]
        quantized = {name: toy.RowLinear.quantize(model.get_submodule(name)) for name in names}
        write_artifact(
            tmp_path / "artifact", model=model, tokenizer=tokenizer, quantized=quantized, quantizer="toy",
            plugin_version="0.1", options={}, transforms=entries, tensors=tensors, provenance={"seed": 0},
        )  # fmt: skip
        return tmp_path / "artifact"

    return build


@pytest.mark.parametrize("tie", [False, True])
def test_randomized_hadamards_biases_and_r3_fold_into_a_plain_model(make, write, host, ids, tmp_path, tie):
    model = make("llama", tie_word_embeddings=tie, attention_bias=True, mlp_bias=True)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    prepared = process_model(model, architecture_of(model.config), 0)
    r3 = [
        hadamard_entry(id="r3", modules="model.layers.*.self_attn", site=site, size=16, needed_if=condition)
        for condition in (None, "kv_bits < 16")
        for site in ("q_post_rope", "k_pre_cache")
    ]
    artifact = write([*prepared.transforms, *r3], prepared.tensors, model)
    with torch.no_grad():
        expected = load_model(LoadRequest(str(artifact), host)).model(ids).logits
    agree(alone(export_artifact("fp16", artifact, tmp_path / "plain", host), ids), expected)
    exact = alone(export_artifact("fp32", artifact, tmp_path / "exact", host), ids)
    assert torch.equal(exact.topk(5).indices, expected.topk(5).indices)
    torch.testing.assert_close(exact, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_r4_folds_into_a_plain_model(make, write, host, ids, tmp_path):
    model = make("mistral")
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data.copy_(hadamard_transform(layer.mlp.down_proj.weight.detach(), block=48))
    r4 = hadamard_entry(id="r4", modules="model.layers.*.mlp.down_proj", site="linear_input", size=96, block=48)
    artifact = write([r4], {}, model)
    with torch.no_grad():
        expected = load_model(LoadRequest(str(artifact), host)).model(ids).logits
    agree(alone(export_artifact("fp16", artifact, tmp_path / "plain", host), ids), expected)


def test_what_cannot_be_folded_is_refused_and_nothing_is_left(make, write, host, tmp_path):
    lone = hadamard_entry(id="r3", modules="model.layers.*.self_attn", site="k_pre_cache", size=16)
    artifact = write([lone], {}, make("mistral"))
    with pytest.raises(CannotFold, match="do not cancel"):
        export_artifact("fp16", artifact, tmp_path / "plain", host)
    assert not (tmp_path / "plain").exists()


def test_weights_beyond_float16_are_refused(make, write, host, tmp_path):
    model = make("mistral")
    model.model.embed_tokens.weight.data[0, 0] = 1e6
    with pytest.raises(CannotFold, match="embed_tokens"):
        export_artifact("fp16", write([], {}, model), tmp_path / "plain", host)
