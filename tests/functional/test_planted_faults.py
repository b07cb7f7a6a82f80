"""Faults planted in the embedded model are recognised by the verdict, each for what it is.

Every model is measured like the cells of a run: multiple choice in prefill and through the decode path, and written
answers, on the documents of four paired data sets; the verdicts come from the stored samples.
"""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch

from qharness.engines.base import EngineRequest
from qharness.engines.hf import HfEngine
from qharness.evaluation.base import EvaluationContext
from qharness.host import Host
from qharness.kv.rounding import KvRounding
from qharness.models.architecture import architecture_of
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.base import ModelContext
from qharness.quantization.pipeline import quantize_model
from qharness.records import EvaluatorRecord, QuantizerRecord, Suite
from qharness.results.comparison import compare
from qharness.results.directory import RunDirectory
from qharness.results.schema import Cell
from qharness.transforms.attach import attach_transforms
from qharness_demo import DATA_DIR
from qharness_kernels.hadamard import hadamard_transform
from qharness_spinquant.options import Options
from qharness_spinquant.quantizer import SpinQuant

pytestmark = pytest.mark.slow

DATA_SETS = ("8tags", "klej-nkjp-ner", "klej-psc", "belebele")
LIMIT = 20


class OneSidedKeys:
    """A cache that rotates keys while nobody rotates the queries; the prompt reads exact states."""

    is_visible = False

    def keys(self, states):
        return hadamard_transform(states)

    def values(self, states):
        return states


class CorruptingEngine(HfEngine):
    """Writes the first token and then what stands elsewhere in the vocabulary; likelihoods are untouched."""

    def generate(self, requests, progress):
        def corrupt(answer):
            rest = tuple(3 + (token * 7919) % 2000 for token in answer.tokens[1:])
            tokens = answer.tokens[:1] + rest
            return answer._replace(tokens=tokens, text=self.tokenizer.decode(tokens, skip_special_tokens=True))

        return [corrupt(answer) for answer in super().generate(requests, progress)]


@pytest.fixture(scope="module")
def host():
    return Host()


@pytest.fixture(scope="module")
def original(host):
    return load_model(LoadRequest("demo", host))


def again(original, model=None):
    """Return the loaded model with a copy of its weights, or with another model."""
    model = copy.deepcopy(original.model) if model is None else model
    return LoadedModel(model, original.tokenizer, "demo", "digest", torch.float32)


def rotated(original, host, folder, with_r4):
    loaded = again(original)
    context = ModelContext(
        architecture_of(loaded.model.config), torch.empty(0, 0, dtype=torch.int64), 0, "cpu", folder, lambda *_: None
    )
    prepared = SpinQuant(Options(learn=False)).prepare(loaded.model, context)
    if with_r4:
        attach_transforms(loaded.model, prepared.transforms, prepared.tensors, host)
    return loaded


def dead(original):
    loaded = again(original)
    with torch.no_grad():
        loaded.model.lm_head.weight.normal_(0, 0.02, generator=torch.Generator().manual_seed(0))
    return loaded


def two_bit_rtn(host, folder):
    record = host.get(QuantizerRecord, "rtn")
    loaded = load_model(LoadRequest("demo", host))
    rest = dict(host=host, calibration=None, hessians=None, seed=0, device="cpu")
    info = quantize_model(loaded, record, record.options(), work=folder / "work", out=folder / "rtn", **rest)
    return load_model(LoadRequest(str(info.path), host))


def engines(original, host, folder, with_outlier_keys):
    """Yield (name, engine); an engine is made when the one before is closed."""
    request = EngineRequest("demo", host)
    yield "fp16", HfEngine(again(original), request)
    yield "rotated", HfEngine(rotated(original, host, folder, True), request)
    yield "without-r4", HfEngine(rotated(original, host, folder, False), request)
    one_sided = HfEngine(again(original), request)
    one_sided._forward.rounding = OneSidedKeys()
    yield "one-sided", one_sided
    two_bits = HfEngine(again(original), request)
    two_bits._forward.rounding = KvRounding(2)
    yield "kv2", two_bits
    two_bits_of_outliers = HfEngine(again(original, with_outlier_keys(original.model)), request)
    two_bits_of_outliers._forward.rounding = KvRounding(2)
    yield "kv2-outliers", two_bits_of_outliers
    yield "rtn", HfEngine(two_bit_rtn(host, folder), request)
    yield "corrupting", CorruptingEngine(again(original), request)
    yield "dead", HfEngine(dead(original), request)


@pytest.fixture(scope="module")
def verdicts(original, host, with_outlier_keys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    suite = host.get(Suite, "polish22-paired")
    chosen = [task for task in suite.tasks if task.dataset in DATA_SETS]
    assert len(chosen) == 2 * len(DATA_SETS)
    run = RunDirectory.create(folder, {"suites": [suite.name], "plugins": []})
    for name, engine in engines(original, host, folder, with_outlier_keys):
        cell = Cell(name, "demo", name)
        for evaluator, kind in (("mc", "mc"), ("decode_ll", "mc"), ("gen", "gen")):
            tasks = [task for task in chosen if task.kind == kind]
            context = EvaluationContext(engine, suite, tasks, str(DATA_DIR), "embedded", num_fewshot=1, limit=LIMIT)
            context.task_done = partial(run.write_task, cell, evaluator)
            assert not host.get(EvaluatorRecord, evaluator).run(context).failures
        engine.close()
    run.finish()
    comparison = compare([run], suite)
    return {row["plugin"]: row for row in comparison["verdicts"]}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("rotated", {"healthy"}),
        ("without-r4", {"collapsed"}),
        ("dead", {"collapsed"}),
        ("one-sided", {"cache_path_fault"}),
        ("kv2-outliers", {"dissociated", "cache_path_fault"}),
        ("rtn", {"uniform_damage", "collapsed"}),
        ("corrupting", {"dissociated"}),
    ],
)
def test_each_fault_gets_its_verdict(verdicts, fault, expected):
    row = verdicts[fault]
    assert row["verdict"] in expected, row["evidence"]["reason"]


def test_a_fault_in_the_decode_path_alone_leaves_prefill_whole_and_takes_both_others(verdicts):
    evidence = verdicts["one-sided"]["evidence"]
    assert evidence["r_mc"]["low"] >= 0.9
    assert evidence["r_gen"]["high"] < 0.5
    assert evidence["decode"]["agreement"]["high"] < 0.9 and evidence["decode"]["gap"] > 0.1


def test_a_two_bit_cache_shows_in_the_decode_path_and_the_embedded_model_bears_it(verdicts):
    """Prefill cannot see it, the decode path does; but this model's choices and short answers survive it."""
    row = verdicts["kv2"]
    assert row["evidence"]["decode"]["gap"] > 0.05
    assert verdicts["rotated"]["evidence"]["decode"]["gap"] < 1e-4
    assert row["verdict"] == "healthy"
