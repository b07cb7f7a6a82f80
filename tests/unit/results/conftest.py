"""Synthetic runs: sample rows of models with known faults on the tasks of polish22."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from qharness.evaluation.base import TaskFailure
from qharness.records import Suite, TaskSpec
from qharness.results.directory import RunDirectory
from qharness.results.schema import Cell, Result, Sample
from qharness_tasks_pl.suites import SUITES

CLASSES = {"8tags": 8, "PolishCyberbullyingDataset": 6, "klej-nkjp-ner": 6, "klej-dyk": 2, "klej-psc": 2, "ppc": 3}
NOTICE = "embedded data: not the leaderboard"


@dataclass(frozen=True)
class Model:
    """How a synthetic model behaves.

    Attributes:
        keeps_mc: Probability that an answer of the baseline is kept in multiple choice.
        keeps_gen: The same in generation.
        is_dead: Answers at random in multiple choice and writes junk.
        decode_noise: Standard deviation of what the decode path adds to each log-likelihood.
        degenerate: Share of degenerate free texts.
    """

    keeps_mc: float = 1.0
    keeps_gen: float = 1.0
    is_dead: bool = False
    decode_noise: float = 1e-5
    degenerate: float = 0.0


MODELS = {
    "fp16": Model(),
    "healthy": Model(0.995, 0.995),
    "uniform": Model(0.55, 0.55, degenerate=0.1),
    "dead": Model(is_dead=True, degenerate=1.0),
    "dissociated": Model(0.97, 0.25, degenerate=0.3),
    "cache": Model(0.99, 0.1, decode_noise=6.0, degenerate=1.0),
}


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass
class World:
    """Gold answers and the baseline's answers, equal for all configurations."""

    suite: Suite
    n: int = 25
    num_fewshot: int = 5
    data: str = "embedded"
    golds: dict[str, np.ndarray] = field(default_factory=dict)

    def rng(self, *key: object) -> np.random.Generator:
        return np.random.default_rng(int(digest(*key)[:12], 16))

    def gold(self, spec: TaskSpec) -> np.ndarray:
        rng = self.rng("gold", spec.dataset)
        classes = CLASSES.get(spec.dataset, 4)
        weights = np.array([0.62, 0.38]) if classes == 2 else np.full(classes, 1 / classes)
        return rng.choice(classes, self.n, p=weights)

    def answers(self, spec: TaskSpec, name: str, model: Model) -> np.ndarray:
        """Chosen class of each document, -1 for an unreadable answer."""
        gold, classes = self.gold(spec), CLASSES.get(spec.dataset, 4)
        base = self.rng("fp16", spec.name)
        wrong = (gold + 1 + base.integers(0, max(classes - 1, 1), self.n)) % classes
        baseline = np.where(base.random(self.n) < 0.9, gold, wrong)
        if name == "fp16":
            return baseline
        own = self.rng(name, spec.name)
        if model.is_dead:
            return own.integers(0, classes, self.n) if spec.kind == "mc" else np.full(self.n, -1)
        keep = own.random(self.n) < (model.keeps_mc if spec.kind == "mc" else model.keeps_gen)
        lost = own.integers(0, classes, self.n) if spec.kind == "mc" else np.full(self.n, -1)
        return np.where(keep, baseline, lost)

    def label(self, spec: TaskSpec, number: int) -> str:
        if spec.kind == "gen" and spec.is_official:
            return "[invalid]" if number < 0 else "BCDEFGHA"[number]
        return "" if number < 0 else f"odpowiedź {number}"


def metric_names(spec: TaskSpec) -> list[str]:
    plain = "acc" if spec.kind == "mc" else "exact_match"
    return list(dict.fromkeys([spec.metric, plain]))


def score(spec: TaskSpec, metric: str, gold: np.ndarray, guess: np.ndarray) -> float:
    if metric != "f1":
        return float(np.mean(gold == guess))
    if len(set(gold)) > 2 or "Cyber" in spec.dataset:
        return float(f1_score(gold, np.maximum(guess, 0), average="macro"))
    return float(f1_score(gold == 1, guess == 1))


def task_samples(world: World, spec: TaskSpec, name: str, model: Model) -> tuple[list[Sample], list[Result]]:
    gold, guess = world.gold(spec), world.answers(spec, name, model)
    likelihoods = world.rng("ll", name, spec.name).normal(-4, 1, (world.n, CLASSES.get(spec.dataset, 4)))
    samples, results = [], []
    for metric in metric_names(spec):
        value = score(spec, metric, gold, guess)
        normalized = None
        official = metric == spec.metric and spec.is_official and spec.baseline is not None
        if official:
            normalized = world.suite.normalized(value, spec.baseline)
        constant = max(np.bincount(gold)) / world.n
        is_f1, is_mc = metric == "f1", spec.kind == "mc"
        results.append(
            Result(
                evaluator=spec.kind,
                suite=world.suite.name,
                task=spec.name,
                kind=spec.kind,
                metric=metric,
                filter=spec.filter,
                num_fewshot=world.num_fewshot,
                n=world.n,
                value=value,
                stderr=None if is_f1 else 0.05,
                baseline=spec.baseline if official else None,
                normalized=normalized,
                invalid_rate=None if is_mc else float(np.mean(guess < 0)),
                constant=None if is_f1 else constant,
                data=world.data,
            )
        )
        for i in range(world.n):
            ll = likelihoods[i].copy()
            ll[max(guess[i], 0)] = 0.0
            samples.append(
                Sample(
                    evaluator=spec.kind,
                    task=spec.name,
                    kind=spec.kind,
                    doc_id=i,
                    doc_hash=digest(spec.dataset, i),
                    prompt_hash=digest(spec.name, i, world.num_fewshot),
                    cluster=f"cluster {i // 2}" if spec.cluster else str(i),
                    filter=spec.filter,
                    metric=metric,
                    value=None if is_f1 else float(gold[i] == guess[i]),
                    gold=world.label(spec, gold[i]),
                    prediction=world.label(spec, guess[i]),
                    invalid=bool(guess[i] < 0),
                    choice_logprobs=tuple(ll) if is_mc else (),
                    response="" if is_mc else f"tekst {guess[i]}",
                    tokens=len(ll),
                )
            )
    return samples, results


def decode_samples(world: World, spec: TaskSpec, name: str, model: Model) -> tuple[list[Sample], list[Result]]:
    samples, results = task_samples(world, spec, name, model)
    rng = world.rng("decode", name, spec.name)
    moved = []
    for sample in samples:
        if sample.metric == "acc":
            noisy = tuple(np.array(sample.choice_logprobs) + rng.normal(0, model.decode_noise, sample.tokens))
            moved.append(Sample(**{**vars(sample), "evaluator": "decode_ll", "choice_logprobs": noisy}))
    kept = [Result(**{**vars(r), "evaluator": "decode_ll", "normalized": None}) for r in results if r.metric == "acc"]
    return moved, kept


def free_samples(world: World, model: Model) -> tuple[list[Sample], list[Result]]:
    samples, results = [], []
    for metric in ("degenerate", "seq_rep_4"):
        values = (np.arange(20) < round(20 * model.degenerate)).astype(float)
        results.append(
            Result("free", world.suite.name, "free", "gen", metric, "none", 0, 20, float(values.mean()), data="own")
        )
        for i, value in enumerate(values):
            register = ("facts", "stories")[i % 2]
            samples.append(
                Sample(
                    evaluator="free",
                    task="free",
                    kind="gen",
                    doc_id=i,
                    doc_hash=digest(i),
                    prompt_hash=digest(i),
                    cluster=register,
                    filter="none",
                    metric=metric,
                    value=value,
                    gold=f"Prompt {i}",
                    prediction="",
                    response=f"Dawno temu {i}",
                )
            )
    return samples, results


def write_configuration(run: RunDirectory, world: World, name: str, **changes: object) -> Cell:
    model = MODELS[name]
    cell = Cell(**{"plugin": name, "model": "demo", "artifact_digest": digest(name), **changes})
    for spec in (*world.suite.tasks, *world.suite.companions):
        run.write_task(cell, spec.kind, spec.name, *task_samples(world, spec, name, model))
        if spec.kind == "mc" and spec.paired:
            run.write_task(cell, "decode_ll", spec.name, *decode_samples(world, spec, name, model))
    run.write_task(cell, "free", "free", *free_samples(world, model))
    return cell


@pytest.fixture(scope="session")
def suite() -> Suite:
    return next(suite for suite in SUITES if suite.name == "polish22")


@pytest.fixture(scope="session")
def make_run(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunDirectory]:
    def make(*names: str, finish: bool = True, n: int = 25, **world: object) -> RunDirectory:
        root: Path = tmp_path_factory.mktemp("runs")
        run = RunDirectory.create(root, {"suites": [suite.name], "plugins": list(names), "limit": n}, notice=NOTICE)
        for name in names:
            write_configuration(run, World(suite, n, **world), name)
        if finish:
            run.finish()
        return run

    return make


@pytest.fixture(scope="session")
def full_run(make_run: Callable[..., RunDirectory]) -> RunDirectory:
    """A finished run with every kind of model and one failed configuration."""
    run = make_run(*MODELS, finish=False)
    run.record_failure(Cell("broken", "demo", ""), TaskFailure("quantize", "", "no such layer"), stage="quantize")
    run.write_artifact({"plugin": "dead", "path": "artifacts/dead", "nominal_bits": 2.0, "stored_bpw": 2.13,
                        "model_bpw": 3.4, "size_bytes": 1_000})  # fmt: skip
    run.finish()
    return run
