"""GPTQ, AWQ and QuaRot on a GPU: the embedded model in bfloat16, one block at a time, as good as on a CPU."""

from __future__ import annotations

import pytest
import torch

from qharness.calibration.corpus import pack_corpus
from qharness.calibration.store import collect_hessians
from qharness.host import Host
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord

DAMAGE = {"gptq": 0.2, "awq": 0.4, "quarot": 0.2}
"""Nats per token; on a CPU they are 0.13, 0.31 and 0.12."""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("stored", [False, True], ids=["text", "stored"])
def test_two_bits_keep_the_demo_model(tmp_path, name, stored):
    from qharness_demo.corpus import calibration_text

    host = Host()

    def load(reference, device="cpu"):
        return load_model(LoadRequest(reference=str(reference), host=host, dtype="auto", device=device))

    def corpus(seed, samples):
        texts = calibration_text(seed, 100_000)
        return pack_corpus(texts, loaded.tokenizer, source="demo", samples=samples, length=512, seed=seed)

    def loss(model):
        tokens = corpus(777, 32).tokens.cuda()
        with torch.no_grad():
            return float(model(input_ids=tokens, labels=tokens).loss)

    loaded = load("demo")
    calibration = corpus(0, 32)
    hessians = collect_hessians(loaded, calibration, tmp_path / "hessians", device="cuda") if stored else None
    record = host.get(QuantizerRecord, name)
    info = quantize_model(
        loaded,
        record,
        record.options(),
        host=host,
        calibration=calibration,
        hessians=hessians,
        seed=0,
        device="cuda",
        work=tmp_path / "work",
        out=tmp_path / "out",
    )
    damage = loss(load(info.path, "cuda").model) - loss(load("demo", "cuda").model)
    print(name, "stored" if stored else "text", "damage", damage)
    assert 0 < damage < DAMAGE[name]
