"""Sign-flip permutation test of paired differences in clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from qharness.statistics.bootstrap import cluster_sums

_EXACT_UP_TO = 16
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class SignFlip:
    """Outcome of the test.

    Attributes:
        clusters: Clusters whose difference is not 0; the others cannot change the statistic.
        p: Two-sided p-value.
        is_exact: Whether all sign patterns were tried.
    """

    clusters: int
    p: float
    is_exact: bool


def sign_flip(
    differences: ArrayLike, clusters: ArrayLike | None = None, *, draws: int = 20_000, seed: int = 0
) -> SignFlip:
    """Test whether paired differences are symmetric about 0, flipping whole clusters.

    Under the null the two models are exchangeable within a cluster, whatever the dependence inside it.
    All sign patterns are tried for up to 16 clusters; beyond, random ones, the observed pattern counted
    among them (Phipson and Smyth 2010), so that p is never 0.

    Args:
        differences: Candidate minus baseline of each document, shape (documents,).
        clusters: Cluster of each document, or None where documents are independent.
        draws: Number of random patterns.
        seed: Seed of the patterns.
    """
    sums = cluster_sums(differences, clusters)[:, 0]
    sums = sums[np.abs(sums) > _TOLERANCE]
    count = len(sums)
    if count == 0:
        return SignFlip(0, 1.0, True)
    threshold = abs(sums.sum()) - _TOLERANCE
    if count <= _EXACT_UP_TO:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return SignFlip(count, float(np.mean(np.abs(signs @ sums) >= threshold)), True)
    # Among equal differences only the number of positive signs matters, and that is binomial.
    sizes, repeats = np.unique(np.abs(sums), return_counts=True)
    positive = np.random.default_rng(seed).binomial(repeats, 0.5, size=(draws, len(repeats)))
    totals = (2 * positive - repeats) @ sizes
    return SignFlip(count, float((1 + np.sum(np.abs(totals) >= threshold)) / (draws + 1)), False)
