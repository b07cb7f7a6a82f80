"""Retention: which share of the baseline's advantage over the best constant answer is left.

r = max(0, (q - c) / (fp - c)), with q the candidate, fp the baseline and c the best constant predictor. The
clipping is inside the bootstrap, and c is the best constant of each draw, so that a model that only says the
most frequent answer retains 0 in every draw. A draw in which the baseline has no advantage says nothing about the
data set and is left out; by the rule of inclusion these are less than 2.5 % of the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from qharness.statistics.bootstrap import DRAWS, Floats, bootstrap, percentile_interval, resample
from qharness.statistics.intervals import Interval

CAP = 2.0
"""Largest retention of a draw. Draws in which the baseline hardly beats the constant make the ratio explode."""

CLOSED_LABELS = 20
"""With more distinct gold answers than this the constant is not redrawn: repeated documents would inflate it."""


@dataclass(frozen=True)
class Side:
    """One data set measured in one way (multiple choice, or written answers), baseline and candidate paired.

    Attributes:
        baseline: Score of each document, shape (documents,), 0..1.
        candidate: Score of the same documents, shape (documents,).
        gold: Gold answers, for the best constant predictor of accuracy.
        constant: Best constant predictor as a fraction if it is not that of accuracy; then it is not redrawn.
    """

    baseline: Floats
    candidate: Floats
    gold: tuple[str, ...]
    constant: float | None = None

    def columns(self) -> Floats:
        """Per document: baseline, candidate, 1, then the gold labels one-hot; shape (documents, 3 + labels)."""
        fixed = [self.baseline, self.candidate, np.ones(len(self.baseline))]
        return np.column_stack([*fixed, *self._one_hot()])

    def retention(self, sums: Floats) -> Floats:
        """Retention from sums of `columns`, shape (k,)."""
        constant = self.constants(sums)
        return clipped_ratio(sums[:, 1] / sums[:, 2] - constant, sums[:, 0] / sums[:, 2] - constant)

    def advantage(self, sums: Floats) -> Floats:
        """Baseline minus best constant from sums of `columns`, shape (k,)."""
        return sums[:, 0] / sums[:, 2] - self.constants(sums)

    def constants(self, sums: Floats) -> Floats:
        """Best constant predictor from sums of `columns`, shape (k,)."""
        if sums.shape[1] > 3:
            return np.asarray(sums[:, 3:].max(axis=1) / sums[:, 2])
        return np.full(len(sums), self._fixed())

    def _labels(self) -> list[str]:
        return sorted(set(self.gold))

    def _one_hot(self) -> list[Floats]:
        labels = self._labels()
        if self.constant is not None or len(labels) > CLOSED_LABELS:
            return []
        gold = np.asarray(self.gold)
        return [(gold == label).astype(np.float64) for label in labels]

    def _fixed(self) -> float:
        if self.constant is not None:
            return self.constant
        return max(self.gold.count(label) for label in self._labels()) / len(self.gold)


def side(baseline: ArrayLike, candidate: ArrayLike, gold: Sequence[str], constant: float | None = None) -> Side:
    """Build a `Side` from any arrays.

    Raises:
        ValueError: The lengths differ, or there are no documents.
    """
    before, after = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    if not len(before) or {len(after), len(gold)} != {len(before)}:
        raise ValueError("A data set needs baseline, candidate and gold of the same documents, at least one.")
    return Side(before, after, tuple(gold), constant)


def clipped_ratio(kept: Floats, advantage: Floats) -> Floats:
    """Return kept / advantage within 0 and `CAP`; NaN where there is no advantage to keep."""
    missing = np.full(np.shape(advantage), np.nan)
    ratio = np.divide(kept, advantage, out=missing, where=advantage > 0)
    return np.asarray(np.clip(ratio, 0.0, CAP))


def advantage(data: Side, clusters: ArrayLike | None = None, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Interval of baseline minus best constant. The candidate does not enter."""
    return bootstrap(data.columns(), data.advantage, clusters, draws=draws, seed=seed)


def is_informative(data: Side, clusters: ArrayLike | None = None, *, draws: int = DRAWS, seed: int = 0) -> bool:
    """Whether a data set may enter: the baseline beats the best constant and the interval excludes 0."""
    return advantage(data, clusters, draws=draws, seed=seed).low > 0


def retention(
    data: Side, clusters: ArrayLike | None = None, *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Interval:
    """Retention of one data set with its clustered bootstrap interval; NaN if the baseline has no advantage.

    Args:
        data: Baseline and candidate on the same documents.
        clusters: Cluster of each document, or None where documents are independent.
        draws: Number of draws.
        seed: Seed of the draws.
        level: Coverage.
    """
    sums = resample(data.columns(), clusters, draws=draws, seed=seed)
    return percentile_interval(float(data.retention(sums.observed)[0]), data.retention(sums.drawn), level)
