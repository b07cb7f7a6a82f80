"""Significance tests and corrections against SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from qharness.statistics.holm import holm
from qharness.statistics.intervals import wilson
from qharness.statistics.mcnemar import mcnemar
from qharness.statistics.permutation import sign_flip


def outcomes(lost: int, gained: int, same: int) -> tuple[np.ndarray, np.ndarray]:
    before = np.array([1] * lost + [0] * gained + [1] * same)
    after = np.array([0] * lost + [1] * gained + [1] * same)
    return before, after


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (400, 350), (2000, 1700)])
def test_mcnemar_is_the_exact_binomial_test_of_the_discordant_pairs(lost, gained):
    result = mcnemar(*outcomes(lost, gained, 30))
    expected = stats.binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert result.p == pytest.approx(expected, rel=1e-9)
    assert (result.lost, result.gained, result.n) == (lost, gained, lost + gained + 30)


def test_mid_p_halves_the_observed_outcome_and_is_not_the_default():
    pairs = outcomes(8, 2, 5)
    exact, mid = mcnemar(*pairs).p, mcnemar(*pairs, mid_p=True).p
    assert mid == pytest.approx(exact - stats.binom.pmf(2, 10, 0.5))


def test_mcnemar_refuses_unpaired_input():
    with pytest.raises(ValueError, match="one length"):
        mcnemar([1, 0], [1])


def test_sign_flip_equals_scipy_exact_paired_permutation():
    differences = np.array([0.4, -0.1, 0.3, 0.25, 0.0, 0.7, -0.2, 0.1])
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, n_resamples=np.inf
    ).pvalue
    result = sign_flip(differences)
    assert result.is_exact
    assert result.p == pytest.approx(expected, abs=1e-12)


def test_sign_flip_flips_whole_clusters():
    differences = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], dtype=float)
    independent = sign_flip(differences).p
    clustered = sign_flip(differences, np.repeat(["a", "b", "c"], 4)).p
    assert independent == pytest.approx(2 / 2**12)
    assert clustered == pytest.approx(2 / 2**3)


def test_random_sign_flip_agrees_with_mcnemar_on_many_pairs():
    before, after = outcomes(60, 35, 100)
    assert sign_flip(after - before).p == pytest.approx(mcnemar(before, after).p, abs=0.006)


def test_sign_flip_keeps_its_level_where_mcnemar_does_not():
    rng = np.random.default_rng(1)
    naive = clustered = 0
    for _ in range(200):
        keys = np.repeat(np.arange(40), 6)
        shift = np.repeat(rng.choice([-1, 0, 1], 40, p=[0.25, 0.5, 0.25]), 6)
        before, after = (shift < 0).astype(int), (shift > 0).astype(int)
        naive += mcnemar(before, after).p < 0.05
        clustered += sign_flip(after - before, keys, draws=2000).p < 0.05
    assert clustered <= 20
    assert naive > 60


def test_holm_by_hand_and_against_the_definition():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    rng = np.random.default_rng(0)
    p = rng.random(22) ** 3
    adjusted = holm(p)
    for alpha in (0.01, 0.05, 0.2):
        rejected = set()
        for rank, index in enumerate(np.argsort(p)):
            if p[index] > alpha / (22 - rank):
                break
            rejected.add(index)
        assert rejected == set(np.flatnonzero(adjusted <= alpha))


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (7, 20), (20, 20), (251, 900)])
def test_wilson_equals_scipy(hits, n):
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    found = wilson(hits, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
