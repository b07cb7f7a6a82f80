"""The same job on a GPU: one block at a time, gradient accumulation, float64 merging."""

from __future__ import annotations

import json

import pytest
import torch

from qharness import builtin
from qharness.calibration.corpus import pack_corpus
from qharness.calibration.store import collect_hessians
from qharness.host import Host
from qharness.models.loaded import LoadedModel
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("hessians", ["sequential", "store"])
def test_spinquant_on_a_gpu_keeps_the_demo_model(tmp_path, hessians):
    demo = pytest.importorskip("qharness_demo")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import qharness_spinquant
    from qharness.artifacts.digest import model_digest
    from qharness_demo.corpus import calibration_text

    installed = {status.name for status in Host().status}
    wanted = {"builtin": builtin, "spinquant": qharness_spinquant}
    host = Host(extra={name: plugin for name, plugin in wanted.items() if name not in installed})
    tokenizer = AutoTokenizer.from_pretrained(demo.MODEL_DIR)

    def corpus(seed, samples):
        texts = calibration_text(seed, 100_000)
        return pack_corpus(texts, tokenizer, source="demo", samples=samples, length=512, seed=seed)

    def load():
        model = AutoModelForCausalLM.from_pretrained(demo.MODEL_DIR, dtype=torch.float32).eval()
        return LoadedModel(model, tokenizer, "demo", model_digest(model), torch.float32)

    def loss(model):
        tokens = corpus(777, 32).tokens.cuda()
        with torch.no_grad():
            return float(model.cuda()(input_ids=tokens, labels=tokens).loss)

    calibration, loaded = corpus(0, 64), load()
    store = collect_hessians(loaded, calibration, tmp_path / "h", device="cuda") if hessians == "store" else None
    record = host.get(QuantizerRecord, "spinquant")
    info = quantize_model(
        loaded,
        record,
        record.options(hessians=hessians),
        host=host,
        calibration=calibration,
        hessians=store,
        seed=0,
        device="cuda",
        work=tmp_path / "work",
        out=tmp_path / "out",
        store_dtype=torch.float32,
    )
    manifest = json.loads((info.path / "manifest.json").read_text())
    print(hessians, manifest["notes"]["loss_at_start"], manifest["notes"]["loss_learned"], manifest["seconds"])
    assert manifest["peak_memory"] > 0 and manifest["notes"]["iterations"] == 100
    assert manifest["notes"]["loss_learned"] < manifest["notes"]["loss_at_start"]
    damage = loss(loaded.model) - loss(load().model)
    print("damage", damage)
    assert damage < 0.4
