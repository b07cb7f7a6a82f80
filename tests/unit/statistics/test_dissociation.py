"""Retention, index and verdicts on simulated models."""

from __future__ import annotations

import numpy as np
import pytest

from qharness.statistics.dissociation import Dissociation, PairedSet, dissociation
from qharness.statistics.evidence import DecodeAgreement, Degeneration, Evidence
from qharness.statistics.intervals import Interval
from qharness.statistics.retention import is_informative, retention, side
from qharness.statistics.verdicts import RULES, judge, rule_table

CLASSES = (4, 4, 8, 4, 2, 3, 2, 6, 6)


def model(
    rng: np.random.Generator, n: int, r_mc: float, r_gen: float, *, skill: float = 0.88, dead: str = ""
) -> list[PairedSet]:
    """Nine data sets; a document that lost its answer gets the most frequent one, so that r is exact."""
    sets = []
    for number, classes in enumerate(CLASSES):
        weights = rng.dirichlet(np.full(classes, 8.0)) if classes > 2 else np.array([0.6, 0.4])
        gold = rng.choice(classes, n, p=weights)
        gold[: len(weights)] = np.arange(len(weights))[:n]
        top = np.bincount(gold).argmax()
        sides = []
        for r in (r_mc, r_gen):
            right = rng.random(n) < skill
            keep = rng.random(n) < r
            candidate = np.where(keep, right, gold == top)
            if dead == "constant":
                candidate = gold == 0
            elif dead == "random":
                candidate = rng.integers(0, classes, n) == gold
            elif dead == "silent":
                candidate = np.zeros(n)
            sides.append(side(right, candidate, [str(g) for g in gold]))
        sets.append(PairedSet(f"set{number}", sides[0], sides[1]))
    return sets


def evidence(result: Dissociation, **more) -> Evidence:
    return Evidence(result.r_mc, result.r_gen, result.index, result.documents, result.sets, **more)


def verdict_of(sets: list[PairedSet], **more) -> str:
    return judge(evidence(dissociation(sets, draws=1000), **more)).verdict


def test_retention_formula_and_clipping():
    gold = list("AAAAAABBBB") * 10
    right = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 0] * 10)
    half = np.array([1, 1, 1, 1, 1, 1, 1, 0, 0, 1] * 10)
    data = side(right, half, gold)
    assert retention(data).estimate == pytest.approx((0.8 - 0.6) / (0.9 - 0.6))
    below = retention(side(right, np.zeros(100), gold))
    assert (below.estimate, below.low, below.high) == (0, 0, 0)


def test_always_the_most_frequent_answer_retains_nothing_in_every_draw():
    rng = np.random.default_rng(0)
    gold = rng.choice(["Tak", "Nie"], 60, p=[0.2, 0.8])
    constant = retention(side(rng.random(60) < 0.95, gold == "Nie", list(gold)))
    assert constant.high == 0


def test_an_untouched_model_retains_exactly_everything():
    rng = np.random.default_rng(1)
    gold = rng.choice(list("ABCD"), 40)
    right = rng.random(40) < 0.8
    kept = retention(side(right, right, list(gold)))
    assert (kept.low, kept.estimate, kept.high) == (1, 1, 1)


def test_a_data_set_at_chance_does_not_enter_whatever_the_candidate_does():
    rng = np.random.default_rng(2)
    gold = rng.choice(["Tak", "Nie"], 200, p=[0.17, 0.83])
    baseline = rng.random(200) < 0.63
    for candidate in (np.zeros(200), np.ones(200)):
        assert not is_informative(side(baseline, candidate, list(gold)))
    chance = PairedSet("dyk", side(baseline, np.ones(200), list(gold)), side(baseline, np.ones(200), list(gold)))
    result = dissociation([chance])
    assert result.index is None
    assert judge(evidence(result)).verdict == "inconclusive"


def test_a_fixed_constant_is_used_as_given():
    data = side([1, 1, 1, 0] * 20, [1, 0, 1, 0] * 20, ["a", "b", "c", "d"] * 20, constant=0.25)
    assert retention(data).estimate == pytest.approx(0.5)


def test_open_answers_have_a_constant_that_repeated_draws_do_not_inflate():
    gold = [f"tekst {i}" for i in range(50)]
    data = side(np.ones(50), np.zeros(50), gold)
    sums = data.columns().sum(axis=0, keepdims=True)
    assert data.constants(sums)[0] == pytest.approx(1 / 50)


@pytest.mark.parametrize("dead", ["constant", "random", "silent"])
@pytest.mark.parametrize("n", [25, 100])
def test_a_dead_model_is_collapsed_never_dissociated(dead, n):
    found = [verdict_of(model(np.random.default_rng(s), n, 0, 0, dead=dead)) for s in range(10)]
    assert "dissociated" not in found
    assert found.count("collapsed") >= 9


def test_index_is_paired_and_its_interval_covers_the_truth():
    covered = 0
    for s in range(24):
        result = dissociation(model(np.random.default_rng(100 + s), 120, 0.8, 0.4), draws=500)
        assert result.index is not None
        covered += not result.index.excludes(0.4)
    assert covered >= 20


def test_the_same_answers_in_both_ways_give_an_index_of_exactly_zero():
    sets = [PairedSet(s.name, s.mc, s.mc) for s in model(np.random.default_rng(5), 50, 0.6, 0.6)]
    index = dissociation(sets).index
    assert index is not None
    assert (index.low, index.estimate, index.high) == (0, 0, 0)


def test_clusters_widen_the_index():
    plain = model(np.random.default_rng(6), 60, 0.8, 0.4)
    repeated = []
    for s in plain:
        sides = [side(np.repeat(x.baseline, 4), np.repeat(x.candidate, 4), np.repeat(x.gold, 4)) for x in (s.mc, s.gen)]
        repeated.append(PairedSet(s.name, *sides, tuple(str(i) for i in np.repeat(np.arange(60), 4))))
    clustered, first = dissociation(repeated).index, dissociation(plain).index
    assert clustered is not None and first is not None
    assert clustered.width == pytest.approx(first.width, rel=0.05)


@pytest.mark.parametrize("r", [1.0, 0.75, 0.5, 0.3])
def test_equal_damage_is_hardly_ever_called_dissociated(r):
    found = [verdict_of(model(np.random.default_rng(s), 30, r, r)) for s in range(15)]
    assert found.count("dissociated") == 0


@pytest.mark.slow
@pytest.mark.parametrize("r", [1.0, 0.6, 0.4])
def test_two_hundred_nulls_give_at_most_six_dissociated(r):
    found = [verdict_of(model(np.random.default_rng(1000 + s), 60, r, r)) for s in range(200)]
    assert found.count("dissociated") <= 6


def test_planted_dissociation_is_found():
    found = [verdict_of(model(np.random.default_rng(s), 60, 0.95, 0.3)) for s in range(10)]
    assert found.count("dissociated") >= 9


def test_uniform_damage_is_found():
    found = [verdict_of(model(np.random.default_rng(s), 60, 0.6, 0.6)) for s in range(10)]
    assert found.count("uniform_damage") >= 9


WHOLE = Interval(0.97, 0.93, 1.01)
HALF = Interval(0.6, 0.5, 0.7)
NONE = Interval(0.02, 0.0, 0.08)
FINE = Degeneration(20, 0)
LOOPS = Degeneration(20, 14)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Evidence(WHOLE, WHOLE, Interval(0, -0.05, 0.05), 900), "healthy"),
        (Evidence(WHOLE, WHOLE, Interval(0, -0.05, 0.05), 900, free=LOOPS, free_baseline=FINE), "dissociated"),
        (Evidence(WHOLE, WHOLE, Interval(0, -0.05, 0.05), 900, free=LOOPS, free_baseline=LOOPS), "healthy"),
        (Evidence(NONE, NONE, Interval(0, -0.1, 0.1), 225), "collapsed"),
        (Evidence(NONE, HALF, Interval(-0.5, -0.6, -0.4), 225, free=LOOPS, free_baseline=FINE), "collapsed"),
        (Evidence(WHOLE, NONE, Interval(0.95, 0.8, 1.0), 900), "dissociated"),
        (
            Evidence(WHOLE, NONE, Interval(0.95, 0.8, 1.0), 900, decode=DecodeAgreement(225, 80, 1.3)),
            "cache_path_fault",
        ),
        (Evidence(NONE, NONE, Interval(0, 0, 0), 225, decode=DecodeAgreement(225, 80, 1.3)), "collapsed"),
        (Evidence(WHOLE, WHOLE, Interval(0, 0, 0), 900, decode=DecodeAgreement(225, 223, 0.02)), "healthy"),
        (Evidence(HALF, HALF, Interval(0, -0.1, 0.1), 900), "uniform_damage"),
        (Evidence(Interval(0.6, 0.1, 1.1), Interval(0.6, 0.1, 1.1), Interval(0, -0.6, 0.6), 90), "inconclusive"),
        (Evidence(Interval(0.95, 0.8, 1.1), Interval(0.95, 0.8, 1.1), Interval(0, -0.2, 0.2), 90), "inconclusive"),
        (Evidence(WHOLE, None, None, 900), "inconclusive"),
        (Evidence(), "inconclusive"),
        (Evidence(Interval(1, 1, 1), Interval(1, 1, 1), Interval(0, 0, 0), 27), "inconclusive"),
        (Evidence(Interval(0, 0, 0), Interval(0, 0, 0), Interval(0, 0, 0), 27), "inconclusive"),
    ],
)
def test_rules(given, expected):
    judgement = judge(given)
    assert judgement.verdict == expected
    assert judgement.evidence["reason"] == judgement.reason
    assert judgement.reason.endswith(".")


def test_inconclusive_says_how_many_documents_it_takes():
    wide = Evidence(Interval(0.95, 0.8, 1.1), Interval(1.0, 0.95, 1.05), Interval(0, -0.2, 0.2), 100)
    assert "about 900 documents in place of 100" in judge(wide).reason


def test_the_table_has_the_rules_in_the_order_of_the_design():
    names = ["inconclusive", "cache_path_fault", "collapsed", "dissociated", "healthy", "uniform_damage"]
    assert [rule.name for rule in RULES] == [row["name"] for row in rule_table()] == names
    for row in rule_table():
        for name in row["thresholds"]:
            assert f"`{name}`" in row["condition"] or (name == "index" and "index is above `index`" in row["condition"])
