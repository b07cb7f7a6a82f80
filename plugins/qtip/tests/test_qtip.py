"""QTIP end to end on a small model: scales, sizes, fine-tuning, and the refusal to run without the Hadamards."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import qharness_qtip
from qharness import builtin
from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus
from qharness.errors import MissingTransform, UsageError
from qharness.hf import LoadingOptions, loading_options
from qharness.host import Host
from qharness.models.architecture import architecture_of
from qharness.models.loaded import LoadedModel
from qharness.quantization.base import LinearContext, ModelContext
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness.rounding.feedback import proxy_loss
from qharness.testing.problems import make_problem
from qharness.transforms.attach import attach_transforms
from qharness_qtip.options import Options
from qharness_qtip.quantizer import Qtip

TOKENS = torch.randint(0, 64, (8, 24), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def host():
    installed = {status.name for status in Host().status}
    missing = {
        name: plugin for name, plugin in (("builtin", builtin), ("qtip", qharness_qtip)) if name not in installed
    }
    return Host(extra=missing)


def _loaded(hidden=48, intermediate=80):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=64,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    return LoadedModel(model, None, "toy", model_digest(model), torch.float32)


def _quantize(host, folder, loaded, **options):
    record = host.get(QuantizerRecord, "qtip")
    quantize_model(
        loaded, record, Options(**{"L": 8, "window": 32, "scale": 1.0, "iterations": 0, **options}), host=host,
        calibration=Corpus(TOKENS, "random"), hessians=None, seed=0, device="cpu", work=folder / "work",
        out=folder / "out", store_dtype=torch.float32,
    )  # fmt: skip
    return folder / "out"


def _read(host, path, ablate=()):
    with loading_options(LoadingOptions(host, ablate=ablate)):
        return AutoModelForCausalLM.from_pretrained(path).eval()


def _logits(model):
    with torch.no_grad():
        return model(TOKENS).logits.log_softmax(-1)


def _divergence(reference, found):
    return float((reference.exp() * (reference - found)).sum(-1).mean())


def test_more_bits_are_nearer_and_a_missing_transform_is_refused(host, tmp_path):
    original = _logits(_loaded().model)
    divergences = []
    for bits in (2, 4):
        path = _quantize(host, tmp_path / str(bits), _loaded(), bits=bits, L=16 if bits == 4 else 8)
        divergences.append(_divergence(original, _logits(_read(host, path))))
    assert divergences[1] < 0.25 * divergences[0]
    assert _divergence(original, _logits(_read(host, path, ("rht",)))) > 4 * divergences[0]

    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["notes"]["trellis"] == "L=16, K=4, V=2, hyb" and "not_the_reference" not in manifest["notes"]


def test_without_its_hadamards_a_model_is_refused(host):
    model = _loaded().model
    context = ModelContext(architecture_of(model.config), TOKENS, 0, "cpu", None, lambda *_: None)
    prepared = Qtip(Options()).prepare(model, context)
    assert {entry.site for entry in prepared.transforms} == {"linear_input", "linear_output"}
    for entry in prepared.transforms:
        with pytest.raises(MissingTransform, match="--ablate rht"):
            attach_transforms(model, [entry], {}, host)


def test_fine_tuning_brings_the_model_nearer_and_trains_the_tables(host, tmp_path):
    original = _logits(_loaded().model)
    rates = dict(weight_rate=1e-3, sign_rate=3e-3, table_rate=3e-3, batch=2)
    whole = dict(whole_epochs=4, whole_sign_rate=3e-3, whole_table_rate=1e-3)
    stages = [{}, {"epochs": 5}, {"epochs": 5, **whole}]
    paths = [_quantize(host, tmp_path / str(i), _loaded(), **rates, **stage) for i, stage in enumerate(stages)]
    plain, tuned, finished = (_read(host, path) for path in paths)
    divergences = [_divergence(original, _logits(model)) for model in (plain, tuned, finished)]
    assert divergences[1] < 0.8 * divergences[0] and divergences[2] < 0.95 * divergences[1]
    tables = [model.model.layers[0].self_attn.q_proj.lut for model in (plain, tuned, finished)]
    assert {table.dtype for table in tables} == {torch.float16}
    assert not torch.equal(tables[0], tables[1]) and not torch.equal(tables[1], tables[2])
    assert json.loads((paths[0] / "manifest.json").read_text())["notes"]["not_the_reference"].startswith("states of 8")


def _proxy(options, rows=64, columns=96):
    problem = make_problem(rows, columns, bias=False)
    context = LinearContext("layer", problem.hessian, None, torch.Generator(), "cpu")
    layer = Qtip(options).quantize(problem.linear, context)
    return proxy_loss(problem.linear.weight.detach(), layer.dequantize(), problem.hessian)


def test_the_searched_scale_is_as_good_as_the_best_fixed_one():
    """Up to the noise of a small matrix: neighbouring scales differ by two percent either way."""
    fixed = dict(L=9, window=32, code="3inst", iterations=0)
    best = min(_proxy(Options(**fixed, refit=False, scale=scale)) for scale in (0.7, 0.8, 0.9, 1.0, 1.1))
    searched = _proxy(Options(**fixed, refit=False))
    assert searched < 1.02 * best
    assert _proxy(Options(**fixed)) < searched


def test_error_feedback_more_states_and_descent_help():
    options = dict(window=64, scale=1.0, code="mul1", iterations=0)
    problem = make_problem(64, 96, bias=False)
    without = Qtip(Options(**options, L=8)).quantize(
        problem.linear, LinearContext("layer", None, None, torch.Generator(), "cpu")
    )
    plain = proxy_loss(problem.linear.weight.detach(), without.dequantize(), problem.hessian)
    feedback = _proxy(Options(**options, L=8))
    assert feedback < 0.9 * plain
    assert _proxy(Options(**options, L=12)) < 0.97 * feedback
    assert _proxy(Options(**{**options, "iterations": 2}, L=8)) < 0.97 * feedback


def test_a_cpu_gets_fewer_states_unless_told():
    assert Options().state_bits("cpu") == 12 and Options().state_bits("cuda:0") == 16
    assert Options(L=14).state_bits("cpu") == Options(L=14).state_bits("cuda:0") == 14
    assert Options(bits=4).state_bits("cpu") == 16


@pytest.mark.parametrize("sizes", [(40, 64), (64, 40)])
def test_sizes_that_do_not_fill_tiles_are_refused(sizes):
    with pytest.raises(UsageError, match="tiles of 16 x 16"):
        _proxy(Options(L=8, scale=1.0), *sizes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 5}, "bits"),
        ({"L": 17}, "L is 8 to 16"),
        ({"L": 8, "bits": 4}, "L is 16 to 16"),
        ({"window": 2}, "window"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)
