"""The pipeline: behind what a layer is calibrated, killing and resuming, failures, seeds."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from qharness.calibration.store import HessianStore, collect_hessians
from qharness.errors import DigestMismatch, MissingData, UnknownName, UnsupportedArchitecture, UsageError
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.options import options_from
from qharness.quantization.pipeline import QuantizationFailed, quantize_model, seed_of


def _quantize(loaded, record, host, tmp_path, corpus=None, stored=None, seed=0, out="out", progress=None, **options):
    return quantize_model(
        loaded,
        record,
        record.options(**options),
        host=host,
        calibration=corpus,
        hessians=stored,
        seed=seed,
        device="cpu",
        work=tmp_path / "work",
        out=tmp_path / out,
        store_dtype=torch.float32,
        progress=progress or (lambda *_: None),
    )


def _hessian_inputs(model, name, tokens):
    found = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda _, args: found.append(args[0]))
    with torch.no_grad():
        model(tokens)
    handle.remove()
    x = found[0].flatten(0, -2).double()
    return (x.T @ x / len(x)).float()


class _Watch:
    """A record whose quantizer remembers the Hessians it was shown."""

    def __init__(self, record):
        self.seen = {}
        create = record.create

        def watching(options):
            quantizer = create(options)
            quantize = quantizer.quantize

            def remember(linear, context):
                self.seen[context.name] = context.hessian.clone()
                return quantize(linear, context)

            quantizer.quantize = remember
            return quantizer

        self.record = dataclasses.replace(record, create=watching)


def test_sequential_hessians_are_those_behind_the_quantized_prefix(loaded, record, host, corpus, tmp_path, load):
    watch = _Watch(record)
    _quantize(loaded, watch.record, host, tmp_path, corpus)
    original, quantized = load().model, loaded.model
    assert len(watch.seen) == 21
    first, last = "model.layers.0.self_attn.q_proj", "model.layers.2.mlp.down_proj"
    assert torch.allclose(watch.seen[first], _hessian_inputs(original, first, corpus.tokens), rtol=1e-4, atol=1e-5)
    behind = _hessian_inputs(quantized, last, corpus.tokens)
    scale = float(behind.diagonal().max())
    assert torch.allclose(watch.seen[last], behind, rtol=1e-3, atol=1e-4 * scale)
    assert not torch.allclose(watch.seen[last], _hessian_inputs(original, last, corpus.tokens), atol=1e-2 * scale)
    assert torch.equal(watch.seen["model.layers.1.mlp.up_proj"], watch.seen["model.layers.1.mlp.gate_proj"])


def test_stored_hessians_are_those_of_the_original(loaded, record, host, corpus, tmp_path, load):
    collect_hessians(load(), corpus, tmp_path / "hessians")
    watch = _Watch(record)
    store = HessianStore.open(tmp_path / "hessians", loaded.digest)
    info = _quantize(loaded, watch.record, host, tmp_path, stored=store, hessians="store")
    for name, found in watch.seen.items():
        assert torch.allclose(found, _hessian_inputs(load().model, name, corpus.tokens), rtol=1e-4, atol=1e-5), name
    walked = _quantize(load(), record, host, tmp_path, corpus, out="walked")
    assert walked.digest != info.digest


def test_killed_and_resumed_gives_the_same_digest(loaded, record, host, corpus, tmp_path, load):
    whole = _quantize(loaded, record, host, tmp_path, corpus, out="whole")

    class Killed(BaseException):
        pass

    def kill(done, total, label):
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        _quantize(load(), record, host, tmp_path, corpus, out="resumed", progress=kill)
    assert not (tmp_path / "resumed").exists()
    counter = type(record.create(record.options()))
    before = counter.calls
    resumed = _quantize(load(), record, host, tmp_path, corpus, out="resumed")
    assert counter.calls - before == 7
    assert resumed.digest == whole.digest
    assert not any((tmp_path / "work").iterdir())


def test_other_options_never_meet_the_checkpoints(record, host, corpus, tmp_path, load):
    def kill(done, total, label):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _quantize(load(), record, host, tmp_path, corpus, progress=kill)
    resumed = _quantize(load(), record, host, tmp_path, corpus, out="a", bits=3)
    fresh = _quantize(load(), record, host, tmp_path / "fresh", corpus, bits=3)
    assert resumed.digest == fresh.digest


def test_damaged_checkpoint_is_computed_again(record, host, corpus, tmp_path, load):
    whole = _quantize(load(), record, host, tmp_path / "whole", corpus)

    def kill(done, total, label):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _quantize(load(), record, host, tmp_path, corpus, progress=kill)
    (path,) = (tmp_path / "work").rglob("block-000.safetensors")
    path.write_bytes(path.read_bytes()[:200])
    assert _quantize(load(), record, host, tmp_path, corpus).digest == whole.digest


def test_seeds_decide_the_digest(record, host, corpus, tmp_path, load):
    infos = [_quantize(load(), record, host, tmp_path, corpus, seed=s, out=f"{i}") for i, s in enumerate((0, 0, 1))]
    assert infos[0].digest == infos[1].digest != infos[2].digest
    assert seed_of(0, "a") != seed_of(0, "b") != seed_of(1, "b")


def test_artifact_computes_what_the_quantized_model_did(loaded, tokenizer, record, host, corpus, tmp_path, load):
    loaded.tokenizer = tokenizer
    info = _quantize(loaded, record, host, tmp_path, corpus)
    again = load_model(LoadRequest(str(info.path), host))
    with torch.no_grad():
        assert torch.allclose(again.model(corpus.tokens).logits, loaded.model(corpus.tokens).logits, atol=1e-5)
    manifest = json.loads((info.path / "manifest.json").read_text())
    assert manifest["calibration"]["digest"] == corpus.digest and manifest["base_digest"] == load().digest
    assert len(manifest["layers"]) == 21
    assert all(0 < layer["proxy_loss"] < 1 for layer in manifest["layers"].values())
    assert manifest["seconds"]["quantize"] > 0 and manifest["peak_host_memory"] > 2**20
    assert info.nominal_bits == 2 and info.stored_bpw == pytest.approx(2 + 18 / 32)


def test_failure_names_plugin_hook_and_layer(loaded, record, host, corpus, tmp_path):
    name = "model.layers.1.mlp.up_proj"
    with pytest.raises(QuantizationFailed, match=f"'feedback' .* quantize at {name}: RuntimeError: broken on purpose"):
        _quantize(loaded, record, host, tmp_path, corpus, fail_at=name)
    assert not (tmp_path / "out").exists()


def test_missing_calibration_and_foreign_hessians(loaded, record, host, corpus, tmp_path, load):
    with pytest.raises(MissingData, match="--text"):
        _quantize(loaded, record, host, tmp_path)
    collect_hessians(load(1), corpus, tmp_path / "h")
    with pytest.raises(DigestMismatch, match=r"'model-1'.*'model-0'"):
        HessianStore.open(tmp_path / "h", loaded.digest, loaded.reference)


def test_foreign_architecture(loaded, record, host, corpus, tmp_path):
    with pytest.raises(UnsupportedArchitecture, match="it knows gpt2"):
        _quantize(loaded, dataclasses.replace(record, architectures=("gpt2",)), host, tmp_path, corpus)


def test_options_from_text(record):
    found = options_from(record, {"Bits": "3", "act-order": "yes", "DAMPING": "0.1", "hessians": "Store"})
    assert found == record.options(3, 0.1, True, "store")
    with pytest.raises(UnknownName, match="Did you mean 'damping'"):
        options_from(record, {"dampin": "1"})
    for name, value in {"bits": "two", "damping": "x", "act_order": "maybe", "hessians": "later"}.items():
        with pytest.raises(UsageError, match=f"feedback.{name}={value}"):
            options_from(record, {name: value})
