"""Intervals over several quantizations."""

from __future__ import annotations

import numpy as np
import pytest

from qharness.statistics.intervals import Interval
from qharness.statistics.quantizations import across_quantizations


def test_equal_seeds_keep_the_interval_of_the_documents():
    one = Interval(0.8, 0.7, 0.85)
    pooled = across_quantizations([one] * 4)
    assert (pooled.estimate, pooled.low, pooled.high) == pytest.approx((0.8, 0.7, 0.85))


def test_two_seeds_far_apart_leave_hardly_any_knowledge():
    pooled = across_quantizations([Interval(0.9, 0.88, 0.92), Interval(0.5, 0.48, 0.52)])
    assert pooled.estimate == pytest.approx(0.7)
    assert pooled.low < 0 and pooled.high > 1


def test_one_seed_is_refused():
    with pytest.raises(ValueError, match="two seeds"):
        across_quantizations([Interval(0.9, 0.8, 1.0)])


@pytest.mark.parametrize(("spread", "noise"), [(0.1, 0.02), (0.02, 0.05), (0.05, 0.05)])
def test_it_covers_the_mean_of_a_method_whose_seeds_and_documents_vary(spread, noise):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        documents = rng.normal(0, noise)
        estimates = 0.7 + documents + rng.normal(0, spread, 5)
        pooled = across_quantizations([Interval(e, e - 1.96 * noise, e + 1.96 * noise) for e in estimates])
        covered += pooled.low <= 0.7 <= pooled.high
    assert covered >= 0.93 * 400
