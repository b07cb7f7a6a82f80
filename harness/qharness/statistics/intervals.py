"""Intervals: a container for all of them, and the Wilson interval of a share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, stdev


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided interval.

    Attributes:
        estimate: Point estimate.
        low: Lower bound.
        high: Upper bound.
        level: Coverage, 0.95 as a rule.
    """

    estimate: float
    low: float
    high: float
    level: float = 0.95

    @property
    def width(self) -> float:
        """Upper minus lower bound."""
        return self.high - self.low

    def excludes(self, value: float) -> bool:
        """Whether the value lies outside of the interval."""
        return value < self.low or value > self.high


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean of independent values, or None for fewer than two."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(probability)


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Score interval of a share (Wilson 1927; Brown, Cai and DasGupta 2001, equation 4).

    Args:
        successes: Number of hits, 0 to n.
        n: Number of independent trials, at least 1.
        level: Coverage.

    Raises:
        ValueError: There are no trials, or more hits than trials.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"A share needs 0 <= successes <= n and n >= 1, got {successes} of {n}.")
    z = normal_quantile(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(share, low, high, level)
