"""One interval over several quantizations of one model by one method, each with another seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qharness.statistics.intervals import Interval

LEVEL = 0.95


def across_quantizations(intervals: Sequence[Interval]) -> Interval:
    """Return the mean over seeds with an interval for documents and seeds.

    The seeds are a sample of all quantizations that the method could make, the documents a sample shared by all of
    them. So the mean keeps the whole uncertainty of the documents (the mean distance to each bound), and the variance
    between seeds adds t^2 s^2 / N with N - 1 degrees of freedom; the two are independent and add in squares. The
    variance between seeds holds part of the documents' noise, too, so the interval is rather too wide than too narrow.

    Args:
        intervals: One 95 % interval a seed, at least two.

    Raises:
        ValueError: There are fewer than two.
    """
    from scipy import stats

    count = len(intervals)
    if count < 2:
        raise ValueError("The variance between quantizations takes at least two seeds.")
    estimates = np.array([interval.estimate for interval in intervals])
    mean = float(estimates.mean())
    factor = float(stats.t.ppf((1 + LEVEL) / 2, count - 1))
    between = factor * float(estimates.std(ddof=1)) / math.sqrt(count)
    below = float(np.mean([interval.estimate - interval.low for interval in intervals]))
    above = float(np.mean([interval.high - interval.estimate for interval in intervals]))
    return Interval(mean, mean - math.hypot(below, between), mean + math.hypot(above, between), LEVEL)
