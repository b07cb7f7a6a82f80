"""Exact McNemar test of paired 0/1 outcomes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class McNemar:
    """Outcome of the test.

    Attributes:
        n: Number of pairs.
        lost: Pairs right in the baseline and wrong in the candidate.
        gained: Pairs wrong in the baseline and right in the candidate.
        p: Two-sided p-value.
    """

    n: int
    lost: int
    gained: int
    p: float


def mcnemar(baseline: ArrayLike, candidate: ArrayLike, *, mid_p: bool = False) -> McNemar:
    """Test whether two classifiers are right equally often on the same independent documents.

    Conditional on the number m of discordant pairs, the gains are binomial(m, 1/2) under the null
    (McNemar 1947). The p-value is twice the smaller tail, at most 1.

    Args:
        baseline: Right or wrong, shape (n,), 0/1.
        candidate: The same documents in the same order, shape (n,).
        mid_p: Count the observed outcome half (Fagerland et al. 2013): more power, no longer exact.

    Raises:
        ValueError: The shapes differ.
    """
    before, after = np.asarray(baseline, dtype=bool), np.asarray(candidate, dtype=bool)
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"Pairs need two vectors of one length, got {before.shape} and {after.shape}.")
    lost = int(np.sum(before & ~after))
    gained = int(np.sum(~before & after))
    return McNemar(before.size, lost, gained, _p_value(min(lost, gained), lost + gained, mid_p))


def _p_value(smaller: int, discordant: int, mid_p: bool) -> float:
    log_total = discordant * math.log(2)
    terms = [
        math.exp(math.lgamma(discordant + 1) - math.lgamma(k + 1) - math.lgamma(discordant - k + 1) - log_total)
        for k in range(smaller + 1)
    ]
    tail = math.fsum(terms) - (terms[-1] / 2 if mid_p else 0.0)
    return min(1.0, 2 * tail)
