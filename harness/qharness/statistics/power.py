"""Minimum detectable effects: what a comparison with no difference could have seen at all."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from qharness.statistics.bootstrap import cluster_sums
from qharness.statistics.intervals import normal_quantile


def detectable_difference(n: int, discordant: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest difference of two paired shares that a two-sided test finds with the given power.

    Solves n d^2 = (z_(1-alpha/2) sqrt(psi) + z_power sqrt(psi - d^2))^2 for d (Connor 1987), where psi is the
    share of discordant pairs. psi is taken as (discordant + 1) / (n + 2), since none observed does not
    mean none to come, and never below d, which it cannot be.

    Args:
        n: Number of independent pairs.
        discordant: Pairs in which exactly one of the two is right.
        alpha: Two-sided error of the first kind.
        power: Probability to find the difference.

    Returns:
        The difference as a fraction; 1 if n is too small for any.
    """
    a, b = normal_quantile(1 - alpha / 2), normal_quantile(power)
    psi = (discordant + 1) / (n + 2)

    def lacking(d: float) -> float:
        share = max(psi, d)
        return (a * math.sqrt(share) + b * math.sqrt(max(share - d * d, 0.0))) / math.sqrt(n) - d

    low, high = 0.0, 1.0
    if lacking(high) > 0:
        return 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if lacking(middle) > 0 else (low, middle)
    return high


def clustered_standard_error(differences: ArrayLike, clusters: ArrayLike | None = None) -> float:
    """Standard error of the mean difference with whole clusters as units.

    Linearised ratio estimator with the factor k / (k - 1) (Cochran 1977, section 9A); infinite for one cluster.

    Args:
        differences: Candidate minus baseline of each document, shape (documents,).
        clusters: Cluster of each document, or None where documents are independent.
    """
    values = np.asarray(differences, dtype=np.float64)
    residuals = cluster_sums(values - values.mean(), clusters)[:, 0]
    count = len(residuals)
    if count < 2:
        return math.inf
    return math.sqrt(count / (count - 1) * float(np.sum(residuals**2))) / len(values)


def detectable_clustered(
    differences: ArrayLike, clusters: ArrayLike, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Smallest mean difference that a two-sided test over clusters finds with the given power.

    (z_(1-alpha/2) + z_power) times the clustered standard error, and at least what independent clusters
    without a single discordance allow, see `detectable_difference`.

    Args:
        differences: Candidate minus baseline of each document, shape (documents,), each within -1..1.
        clusters: Cluster of each document.
        alpha: Two-sided error of the first kind.
        power: Probability to find the difference.
    """
    count = len(np.unique(np.asarray(clusters)))
    factor = normal_quantile(1 - alpha / 2) + normal_quantile(power)
    floor = detectable_difference(count, 0, alpha=alpha, power=power)
    return min(1.0, max(floor, factor * clustered_standard_error(differences, clusters)))
