"""Fine-tuning within blocks: it helps, the contract stores its real-valued signs, and a kill loses nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
import torch
from transformers import AutoModelForCausalLM

from qharness import builtin, hookimpl
from qharness.distillation.slots import Slot
from qharness.distillation.training import Schedule, train
from qharness.errors import MissingData, UsageError
from qharness.hf import LoadingOptions, loading_options
from qharness.host import Host
from qharness.models.architecture import architecture_of
from qharness.quantization.grid_linear import GridLinear
from qharness.quantization.incoherence import process_model, tunable
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.grid import GridCode, GridSpec


@dataclass(frozen=True)
class Options:
    epochs: int = 0


class Rotated:
    """Incoherence processing, GPTQ, fine-tuning."""

    def __init__(self, options):
        self.tuning = Schedule(options.epochs, batch=4, accumulate=1) if options.epochs else None

    def prepare(self, model, context):
        return process_model(model, architecture_of(model.config), context.seed)

    def quantize(self, linear, context):
        code = GridCode(GridSpec(2), 32)
        found = round_with_feedback(linear.weight, context.hessian, code)
        return GridLinear(found.indices, code.table(), code.spec, 32, linear.bias)

    def finetune(self, block, context):
        context.train(tunable(block, context, weights=1e-3, signs=3e-3))


class Plugin:
    @staticmethod
    @hookimpl
    def qharness_quantizers():
        yield QuantizerRecord(
            name="rotated", summary="", paper="", options=Options, create=Rotated, linear=lambda: GridLinear,
            needs="hessian", order="independent", architectures=("mistral",), nominal_bits=lambda options: 2.0,
        )  # fmt: skip


@pytest.fixture
def host():
    missing = {} if any(status.name == "builtin" for status in Host().status) else {"builtin": builtin}
    return Host(extra={**missing, "rotated": Plugin()})


def _quantize(loaded, host, folder, corpus, out="out", progress=None, **options):
    record = host.get(QuantizerRecord, "rotated")
    return quantize_model(
        loaded, record, Options(**options), host=host, calibration=corpus, hessians=None, seed=0, device="cpu",
        work=folder / "work", out=folder / out, store_dtype=torch.float32, progress=progress or (lambda *_: None),
    )  # fmt: skip


def _logits(model, tokens):
    with torch.no_grad():
        return model(tokens).logits


def test_tuning_brings_the_model_nearer_and_the_artifact_keeps_it(load, host, corpus, tmp_path):
    original = _logits(load().model, corpus.tokens)
    errors, infos = {}, {}
    for epochs in (0, 6):
        loaded = load()
        infos[epochs] = _quantize(loaded, host, tmp_path, corpus, out=f"{epochs}", epochs=epochs)
        found = _logits(loaded.model, corpus.tokens)
        errors[epochs] = float((found - original).square().mean())
        with loading_options(LoadingOptions(host)):
            artifact = AutoModelForCausalLM.from_pretrained(infos[epochs].path, dtype=torch.float32)
        torch.testing.assert_close(_logits(artifact, corpus.tokens), found, rtol=1e-3, atol=2e-3)
    assert errors[6] < 0.8 * errors[0]
    config = json.loads((infos[6].path / "config.json").read_text())["quantization_config"]
    assert all(entry["map"]["parameters"]["real"] for entry in config["transforms"])
    manifest = json.loads((infos[6].path / "manifest.json").read_text())
    tuned = [layer for layer in manifest["layers"].values() if "tuning_after" in layer]
    assert len(tuned) == 12 and all(layer["tuning_after"] <= layer["tuning_before"] for layer in tuned)
    # Real sign vectors take 16 bits an entry, those that training could not better keep their 8.
    bits = [json.loads((infos[n].path / "manifest.json").read_text())["bits"]["transforms"] for n in (0, 6)]
    assert bits[0] == 8 * 3 * (3 * 64 + 96 + 3 * 64 + 2 * 32 + 2 * 96)
    assert 1.5 * bits[0] < bits[1] <= 2 * bits[0]


def test_killed_and_resumed_gives_the_same_digest(load, host, corpus, tmp_path):
    whole = _quantize(load(), host, tmp_path, corpus, out="whole", epochs=2)

    def kill(done, total, label):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _quantize(load(), host, tmp_path, corpus, out="resumed", progress=kill, epochs=2)
    assert _quantize(load(), host, tmp_path, corpus, out="resumed", epochs=2).digest == whole.digest


def test_tuning_needs_text(load, host, corpus, tmp_path):
    from qharness.calibration.store import collect_hessians

    store = collect_hessians(load(), corpus, tmp_path / "hessians")
    with pytest.raises(MissingData, match="--text"):
        quantize_model(
            load(), host.get(QuantizerRecord, "rotated"), Options(1), host=host, calibration=None, hessians=store,
            seed=0, device="cpu", work=tmp_path / "work", out=tmp_path / "out",
        )  # fmt: skip


def _slot(values):
    return Slot("x", lambda: values["x"], lambda tensor: values.update(x=tensor), 0.1, torch.float16)


def test_training_keeps_the_best_state_and_nothing_worse_than_the_start():
    target = torch.tensor([1.0, -2.0])
    values = {"x": torch.zeros(2, dtype=torch.int8)}
    found = train(
        [_slot(values)], 4, lambda batch: (values["x"] - target).square().sum(), Schedule(60), seed=0, device="cpu"
    )
    assert found.after < 0.02 * found.before and values["x"].dtype == torch.float16
    assert torch.allclose(values["x"].float(), target, atol=0.25)
    start = torch.ones(2, dtype=torch.int8)
    values = {"x": start}
    # What lowers the loss of the training batches raises that of the held-out one.
    found = train(
        [_slot(values)], 4, lambda batch: (values["x"] * (1.0 if batch == 3 else -1.0)).sum(), Schedule(5), seed=0,
        device="cpu",
    )  # fmt: skip
    assert found.epoch == 0 and values["x"] is not None and torch.equal(values["x"], start)
    assert values["x"].dtype == torch.int8
    with pytest.raises(UsageError, match="two batches"):
        train([_slot(values)], 1, lambda batch: values["x"].sum(), Schedule(), seed=0, device="cpu")
