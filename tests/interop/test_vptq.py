"""Exported VPTQ checkpoints in the authors' own package: the same names, shapes and logits."""

from __future__ import annotations

import json
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import qharness_demo
from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import pack_corpus
from qharness.host import Host
from qharness.jobs.export import export_artifact
from qharness.models.gguf.loading import load_gguf
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness_demo.corpus import calibration_text

pytestmark = pytest.mark.interop
ROOT = Path(__file__).parents[2]
WHEEL = "vptq==0.0.5.post1"
LAYERS = 2
CODES = {
    "automatic": {"refit": False, "sweeps": 0, "iterations": 3},
    "everything": {
        "refit": False,
        "sweeps": 0,
        "iterations": 3,
        "vector_len": 6,
        "centroids": 256,
        "res_centroids": 16,
        "groups": 2,
        "outliers": 2.0,
        "norm": "minmax",
        "share": "kv",
    },
}


@pytest.fixture(scope="module")
def package():
    """The vptq package without its requirements: of sentence-transformers it imports one name, for another task."""
    folder = ROOT / ".cache" / "vptq"
    if not (folder / "vptq").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
        subprocess.run(command, check=True)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()
    name = "sentence_transformers.SentenceTransformer"
    stand_in = types.ModuleType(name)
    stand_in.SentenceTransformer = type("SentenceTransformer", (), {})
    before = dict(sys.modules)
    sys.path.insert(0, str(folder))
    sys.modules |= {"sentence_transformers": types.ModuleType("sentence_transformers"), name: stand_in}
    try:
        import vptq

        yield vptq
    finally:
        sys.path.remove(str(folder))
        for added in [key for key in sys.modules if key.partition(".")[0] in ("vptq", "sentence_transformers")]:
            del sys.modules[added]
        sys.modules |= {key: before[key] for key in before if key not in sys.modules}


def _first_layers(name, request) -> LoadedModel:
    if name == "demo":
        model = AutoModelForCausalLM.from_pretrained(qharness_demo.MODEL_DIR, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(qharness_demo.MODEL_DIR)
    else:
        whole = load_gguf(LoadRequest(str(request.getfixturevalue("smollm2_file")), Host()))
        model, tokenizer = whole.model, whole.tokenizer
    model.model.layers = model.model.layers[:LAYERS]
    model.config.num_hidden_layers = LAYERS
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:LAYERS]
    return LoadedModel(model.eval(), tokenizer, name, model_digest(model), torch.float32)


@pytest.fixture
def exported(request, tmp_path):
    """Public checkpoint of the first layers of a model, tokens, and our artifact's logits in float32."""
    name, code = request.param
    host, small = Host(), _first_layers(name, request)
    corpus = pack_corpus(calibration_text(0, 20_000), small.tokenizer, source="demo", samples=4, length=128, seed=0)
    record = host.get(QuantizerRecord, "vptq")
    quantize_model(
        small,
        record,
        record.options(**CODES[code]),
        host=host,
        calibration=corpus,
        hessians=None,
        seed=0,
        device="cpu",
        work=tmp_path / "work",
        out=tmp_path / "artifact",
        store_dtype=torch.float32,
    )
    tokens = corpus.tokens[:2, :64]
    expected = load_model(LoadRequest(str(tmp_path / "artifact"), host)).model(tokens).logits
    return export_artifact("vptq", tmp_path / "artifact", tmp_path / "public", host), tokens, expected


@pytest.mark.parametrize("exported", [("demo", "everything"), ("smollm2", "automatic")], indirect=True, ids=str)
def test_the_package_computes_our_logits(package, exported):
    folder, tokens, expected = exported
    assert torch.equal(load_model(LoadRequest(str(folder), Host())).model(tokens).logits, expected)
    found = _theirs(package, folder, torch.float32)(tokens).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("exported", [("demo", "automatic")], indirect=True, ids=str)
def test_the_package_in_bfloat16_is_as_near_as_bfloat16_is(package, exported):
    folder, tokens, expected = exported
    ours = load_model(LoadRequest(str(folder), Host(), dtype="bfloat16")).model(tokens).logits.float()
    theirs = _theirs(package, folder, torch.bfloat16)(tokens).logits.float()
    assert float((theirs - expected).norm()) < 2 * float((ours - expected).norm()) < 0.05 * float(expected.norm())


@pytest.mark.parametrize("exported", [("demo", "automatic")], indirect=True, ids=str)
def test_stock_transformers_reads_the_checkpoint(package, exported, monkeypatch):
    """On a CPU: without the loader's demand for a GPU, and with its replacement of linears mended (see below)."""
    from transformers.quantizers.quantizer_vptq import VptqHfQuantizer

    folder, tokens, expected = exported
    monkeypatch.setattr(VptqHfQuantizer, "validate_environment", lambda *_, **__: None)
    _mend(monkeypatch, package)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.testing.assert_close(model(tokens).logits, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("exported", [("demo", "automatic")], indirect=True, ids=str)
def test_stock_transformers_on_a_gpu(package, exported, monkeypatch):
    folder, tokens, expected = exported
    _mend(monkeypatch, package)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, device_map="cuda")
    found = model(tokens.cuda()).logits.float().cpu()
    assert float((found - expected).norm()) < 0.05 * float(expected.norm())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.xfail(raises=KeyError, strict=True, reason="transformers 5.17 looks a dotted name up in `_modules`")
@pytest.mark.parametrize("exported", [("demo", "automatic")], indirect=True, ids=str)
def test_stock_transformers_on_a_gpu_as_it_is(package, exported):
    AutoModelForCausalLM.from_pretrained(exported[0], dtype=torch.bfloat16, device_map="cuda")


def _mend(monkeypatch, package):
    """Replace linears as transformers means to; 5.17 raises KeyError at the first one that is not at the top."""

    def replace(model, modules_to_not_convert=None, quantization_config=None):
        for name, entry in quantization_config.config_for_layers.items():
            with torch.device("meta"):
                model.set_submodule(name, package.VQuantLinear(**entry, enable_proxy_error=False))
        return model

    monkeypatch.setattr("transformers.integrations.replace_with_vptq_linear", replace)


def _theirs(package, folder: Path, dtype: torch.dtype):
    """The model with the package's layers; `strict` holds names and shapes to what they expect."""
    entries = json.loads((folder / "config.json").read_text())["quantization_config"]["config_for_layers"]
    config = AutoConfig.from_pretrained(folder)
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    for name, entry in entries.items():
        model.set_submodule(name, package.VQuantLinear(**entry, enable_proxy_error=False, dtype=dtype))
    tensors = load_file(folder / "model.safetensors")
    if config.tie_word_embeddings:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    model.load_state_dict(tensors, strict=True)
    return model.eval()
