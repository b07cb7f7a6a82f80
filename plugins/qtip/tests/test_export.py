"""Published checkpoints written from artifacts: they load as the model that was quantized."""

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
from qharness.calibration.corpus import Corpus
from qharness.errors import UsageError
from qharness.hf import LoadingOptions, loading_options
from qharness.host import Host
from qharness.jobs.export import export_artifact
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness_qtip import claims
from qharness_qtip.loading import load_public

TOKENS = torch.randint(0, 96, (16, 24), generator=torch.Generator().manual_seed(0))


def _quantize(folder, **options):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    host = Host()
    record = host.get(QuantizerRecord, "qtip")
    settings = record.options(**{"iterations": 0, "scale": 0.9, "window": 64, "batch": 2, **options})
    return quantize_model(
        LoadedModel(model, None, "toy", model_digest(model), torch.float32), record, settings, host=host,
        calibration=Corpus(TOKENS, "random"), hessians=None, seed=0, device="cpu", work=folder / "work",
        out=folder / "artifact", store_dtype=torch.float32,
    ).path  # fmt: skip


def _logits(model):
    with torch.no_grad():
        return model(TOKENS).logits.float()


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({"code": "hyb", "L": 16}, "quantlut_sym"),
        ({"code": "3inst", "L": 12, "bits": 3, "epochs": 1, "sign_rate": 3e-3}, "3inst"),
        ({"code": "1mad", "L": 12, "bits": 4}, "1mad"),
    ],
    ids=["hyb", "3inst-3-tuned", "1mad-4"],
)
def test_a_published_checkpoint_is_the_artifact(tmp_path, options, mode):
    path = _quantize(tmp_path, hadamard="public", **options)
    out = export_artifact("qtip", path, tmp_path / "public", Host())
    params = json.loads((out / "config.json").read_text())["quip_params"]
    assert (params["codebook"], params["decode_mode"]) == ("bitshift", mode)
    assert (params["L"], params["K"]) == (options["L"], options.get("bits", 2)) and claims(str(out))
    with safe_open(out / "model.safetensors", framework="pt") as file:
        own = {name.rpartition(".")[2] for name in file.keys() if ".k_proj." in name}  # noqa: SIM118
        words = file.get_slice("model.layers.0.self_attn.k_proj.trellis").get_shape()
    assert own == {"trellis", "SU", "SV", "rcp", "tp_rank"} | ({"tlut"} if mode == "quantlut_sym" else set())
    assert words == [32 * 64 // 256, 16 * params["K"]]
    source = Path(qharness_demo.__file__).parent / "model"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, out / name)
    found = _logits(load_public(LoadRequest(str(out), Host(), dtype="float32")).model)
    with loading_options(LoadingOptions(Host())):
        expected = _logits(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval())
    # Trained sign vectors, embeddings and head go through float16.
    assert torch.cosine_similarity(found.flatten(0, 1), expected.flatten(0, 1)).min() > 0.99999
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-2 * float(expected.std()))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"L": 10, "code": "1mad"}, r"qtip\.hadamard=public"), ({"L": 10, "code": "mul1", "hadamard": "public"}, "mul1")],
)
def test_what_the_layout_cannot_hold_is_refused_by_name(tmp_path, options, message):
    path = _quantize(tmp_path, **options)
    with pytest.raises(UsageError, match=message):
        export_artifact("qtip", path, tmp_path / "public", Host())
    assert not (tmp_path / "public").exists()
