"""How often models that are damaged equally, or not at all, are called dissociated: simulated from sample rows.

The rows are those of the nine paired data sets, multiple choice and written answers, with belebele's documents in
clusters; they go through the gathering and the rules that a run uses, with all draws of the bootstrap.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qharness.results.gathering import gather
from qharness.results.measured import Documents, Identity, Measured, Measurement
from qharness.results.parts import Part, TaskKey
from qharness.results.schema import Cell, Result
from qharness.statistics.verdicts import judge

pytestmark = pytest.mark.slow

COMPARISONS = 200
DOCUMENTS = 25
CLASSES = {"klej-dyk": 2, "klej-psc": 2, "ppc": 3, "klej-nkjp-ner": 6, "8tags": 8, "PolishCyberbullyingDataset": 6}
SKILL = 0.88
FLIPPED = 0.06
"""Share of answers that even an undamaged model draws anew."""


def documents(spec, gold, guess):
    count = len(gold)
    responses = np.full(count, "", dtype=object)
    labels = np.array([f"odpowiedź {g}" for g in gold], dtype=object)
    chosen = np.array([f"odpowiedź {g}" for g in guess], dtype=object)
    names = np.array([f"{spec.dataset} {i}" for i in range(count)], dtype=object)
    clusters = np.array([f"tekst {i // 2}" if spec.cluster else str(i) for i in range(count)], dtype=object)
    return Documents(
        np.arange(count), names, names, clusters, (gold == guess).astype(float), labels, chosen, responses,
        np.ones(count, dtype=np.int64), np.array([()] * count, dtype=object),
    )  # fmt: skip


def measurement(spec, gold, guess):
    metric, filter = ("acc", "none") if spec.kind == "mc" else (spec.metric, spec.filter)
    identity = Identity(spec.kind, spec.name, metric, filter, 5, "embedded", "")
    result = Result(spec.kind, "s", spec.name, spec.kind, metric, filter, 5, len(gold), float(np.mean(gold == guess)))
    found = Measurement(identity, result, Part(Path(), "", Cell("", "", ""), TaskKey(spec.kind, spec.name, 5), ()))
    found.__dict__["documents"] = documents(spec, gold, guess)
    return identity, found


def answers(rng, gold, classes, top, kept, baseline):
    """Return answers of which a share is the baseline's; the rest is the most frequent one, so that r is exact."""
    lost = rng.random(len(gold)) >= kept
    anew = rng.random(len(gold)) < FLIPPED
    again = np.where(
        rng.random(len(gold)) < SKILL, gold, (gold + 1 + rng.integers(0, classes - 1, len(gold))) % classes
    )
    return np.where(lost, top, np.where(anew, again, baseline))


def comparison(tasks, seed, kept):
    rng = np.random.default_rng(seed)
    models = {"fp16": {}, "candidate": {}}
    for spec in tasks:
        classes = CLASSES.get(spec.dataset, 4)
        gold = np.random.default_rng(seed * 100 + sum(map(ord, spec.dataset))).integers(0, classes, DOCUMENTS)
        top = np.bincount(gold, minlength=classes).argmax()
        right = rng.random(DOCUMENTS) < SKILL
        baseline = np.where(right, gold, (gold + 1) % classes)
        for name, guess in (("fp16", baseline), ("candidate", answers(rng, gold, classes, top, kept, baseline))):
            identity, found = measurement(spec, gold, guess)
            models[name][identity] = found
    plain, candidate = (Measured(n, Cell(n, "demo", ""), None, "", scores, ()) for n, scores in models.items())
    return judge(gather(candidate, plain, tasks, None).evidence).verdict


@pytest.fixture(scope="module")
def tasks(suite):
    own = [spec for spec in suite.tasks if spec.kind == "mc" and spec.paired]
    return [*own, *(spec for spec in suite.companions if spec.name in {s.paired for s in own})]


@pytest.mark.parametrize("kept", [1.0, 0.7])
def test_equal_damage_is_called_dissociated_in_at_most_three_percent(tasks, kept):
    found = [comparison(tasks, 5000 + seed, kept) for seed in range(COMPARISONS)]
    assert found.count("dissociated") <= 6
    assert found.count("cache_path_fault") == 0


def test_the_simulation_can_show_a_dissociation(tasks):
    rng = np.random.default_rng(1)
    models = {"fp16": {}, "candidate": {}}
    for spec in tasks:
        classes = CLASSES.get(spec.dataset, 4)
        gold = np.random.default_rng(sum(map(ord, spec.dataset))).integers(0, classes, 60)
        top = np.bincount(gold, minlength=classes).argmax()
        kept = 0.95 if spec.kind == "mc" else 0.2
        for name, guess in (("fp16", gold), ("candidate", answers(rng, gold, classes, top, kept, gold))):
            identity, found = measurement(spec, gold, guess)
            models[name][identity] = found
    plain, candidate = (Measured(n, Cell(n, "demo", ""), None, "", scores, ()) for n, scores in models.items())
    assert judge(gather(candidate, plain, tasks, None).evidence).verdict == "dissociated"
