"""Bootstrap, power and F1: equivalences, closed forms and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from qharness.statistics.bootstrap import _draw_many, bootstrap, cluster_sums, paired_difference, resample
from qharness.statistics.f1 import f1, f1_columns
from qharness.statistics.flips import flips
from qharness.statistics.power import clustered_standard_error, detectable_clustered, detectable_difference


def test_same_seed_same_interval_and_other_seed_another():
    values = np.random.default_rng(0).normal(size=50)
    first, again = paired_difference(values * 0, values), paired_difference(values * 0, values)
    assert first == again
    assert first != paired_difference(values * 0, values, seed=1)


def test_drawing_distinct_rows_is_the_plain_bootstrap():
    rng = np.random.default_rng(3)
    columns = np.column_stack([rng.integers(0, 2, 300), rng.integers(0, 2, 300), np.ones(300)]).astype(float)
    fast = resample(columns, draws=20_000).drawn
    plain = _draw_many(columns, 20_000, np.random.default_rng(5))
    assert fast.mean(axis=0) == pytest.approx(plain.mean(axis=0), rel=0.01)
    assert np.cov(fast[:, :2].T) == pytest.approx(np.cov(plain[:, :2].T), rel=0.08, abs=2)
    assert (fast[:, 2] == 300).all()


def test_interval_of_a_mean_agrees_with_the_normal_theory():
    values = np.random.default_rng(4).normal(0.3, 1, 2000)
    interval = paired_difference(np.zeros(2000), values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.004)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.004)


def test_coverage_with_clusters_and_without():
    rng = np.random.default_rng(7)
    covered = naive = 0
    for _ in range(300):
        keys = np.repeat(np.arange(60), 5)
        differences = 0.1 + np.repeat(rng.normal(0, 0.3, 60), 5) + rng.normal(0, 0.2, 300)
        zero = np.zeros(300)
        covered += not paired_difference(zero, differences, keys, draws=1000).excludes(0.1)
        naive += not paired_difference(zero, differences, draws=1000).excludes(0.1)
    assert covered / 300 >= 0.91
    assert naive / 300 < 0.8


def test_ratio_statistic_of_sums():
    rng = np.random.default_rng(2)
    top, bottom = rng.random(400), rng.random(400) + 1
    interval = bootstrap(np.column_stack([top, bottom]), lambda s: s[:, 0] / s[:, 1])
    assert interval.estimate == pytest.approx(top.sum() / bottom.sum())
    assert interval.low < interval.estimate < interval.high


def test_cluster_sums_check_their_input():
    assert cluster_sums([1.0, 2.0, 4.0], ["b", "a", "b"]).tolist() == [[2.0], [5.0]]
    with pytest.raises(ValueError, match="no documents"):
        cluster_sums([])
    with pytest.raises(ValueError, match="as many clusters"):
        cluster_sums([1.0, 2.0], ["a"])


@pytest.mark.parametrize("labels", [("C",), ("A", "B", "C", "D")])
def test_f1_equals_scikit_learn(labels):
    rng = np.random.default_rng(6)
    gold = rng.choice(["A", "B", "C"], 80)
    guess = np.where(rng.random(80) < 0.6, gold, rng.choice(["A", "B", "D"], 80))
    found = f1(f1_columns(gold, guess, labels).sum(axis=0, keepdims=True))[0]
    expected = f1_score(gold == "C", guess == "C") if len(labels) == 1 else f1_score(gold, guess, average="macro")
    assert found == pytest.approx(expected)


def test_detectable_difference_is_found_with_the_promised_power():
    rng = np.random.default_rng(8)
    n, discordant = 400, 80
    effect = detectable_difference(n, discordant)
    share = (discordant + 1) / (n + 2)
    lost = (share + effect) / 2
    found = 0
    for _ in range(800):
        counts = rng.multinomial(n, [lost, share - lost, 1 - share])
        z = (counts[0] - counts[1]) / np.sqrt(max(counts[0] + counts[1], 1))
        found += abs(z) > 1.96
    assert found / 800 == pytest.approx(0.8, abs=0.05)


def test_no_discordance_is_no_infinite_precision():
    assert 0.2 < detectable_difference(25, 0) < 0.5
    assert detectable_difference(10_000, 0) < 0.002
    assert detectable_difference(2, 0) == 1.0


def test_clustered_standard_error_against_closed_forms():
    rng = np.random.default_rng(9)
    differences = rng.choice([-1.0, 0.0, 1.0], 500)
    plain = differences.std(ddof=1) / np.sqrt(500)
    assert clustered_standard_error(differences) == pytest.approx(plain)
    repeated, keys = np.repeat(differences, 4), np.repeat(np.arange(500), 4)
    assert clustered_standard_error(repeated, keys) == pytest.approx(plain)
    factor = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert detectable_clustered(repeated, keys) == pytest.approx(factor * plain)


def test_flips_see_what_equal_accuracy_hides():
    found = flips([1, 1, 0, 0, 0], [0, 1, 1, 0, 0], list("ABCDE"), list("XBYZE"))
    assert found.flips == pytest.approx(0.4)
    assert found.to_wrong == found.to_right == pytest.approx(0.2)
    assert found.changed == pytest.approx(0.6)
