"""Paired bootstrap over clusters of documents, vectorised over the draws.

Every statistic here is a function of sums over documents (means, differences, ratios, F1, clipped
retentions), so a draw needs only the resampled column sums. Clusters with equal rows are exchangeable:
drawing how often each distinct row occurs from a multinomial distribution is the same bootstrap, faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qharness.statistics.intervals import Interval

DRAWS = 10_000

Floats = NDArray[np.float64]

_FEW_ROWS = 256
_CHUNK = 4_000_000


@dataclass(frozen=True)
class BootstrapSums:
    """Column sums of the documents, as observed and in every draw.

    Attributes:
        observed: Sums over all documents, shape (1, columns).
        drawn: Sums over the resampled documents, shape (draws, columns).
        clusters: Number of clusters resampled.
    """

    observed: Floats
    drawn: Floats
    clusters: int


def cluster_sums(columns: ArrayLike, clusters: ArrayLike | None = None) -> Floats:
    """Sum the rows of each cluster.

    Args:
        columns: Values of each document, shape (documents,) or (documents, columns).
        clusters: Cluster of each document, shape (documents,), any sortable type; each its own if None.

    Returns:
        Shape (clusters, columns).

    Raises:
        ValueError: There are no documents, or the lengths differ.
    """
    values = np.asarray(columns, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if not len(values):
        raise ValueError("There are no documents.")
    if clusters is None:
        return values
    keys = np.asarray(clusters)
    if keys.shape != (len(values),):
        raise ValueError(f"{len(values)} documents need as many clusters, got shape {keys.shape}.")
    _, index = np.unique(keys, return_inverse=True)
    sums = np.zeros((int(index.max()) + 1, values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def resample(
    columns: ArrayLike, clusters: ArrayLike | None = None, *, draws: int = DRAWS, seed: int = 0
) -> BootstrapSums:
    """Resample clusters with replacement, all columns of a document together.

    Args:
        columns: Values of each document, shape (documents,) or (documents, columns).
        clusters: Cluster of each document, or None where documents are independent.
        draws: Number of draws.
        seed: Seed of the draws.
    """
    sums = cluster_sums(columns, clusters)
    rng = np.random.default_rng(seed)
    rows, counts = np.unique(sums, axis=0, return_counts=True)
    if len(rows) <= _FEW_ROWS:
        drawn = rng.multinomial(len(sums), counts / len(sums), size=draws) @ rows
    else:
        drawn = _draw_many(sums, draws, rng)
    return BootstrapSums(sums.sum(axis=0, keepdims=True), drawn, len(sums))


def bootstrap(
    columns: ArrayLike,
    statistic: Callable[[Floats], Floats],
    clusters: ArrayLike | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic of column sums.

    Args:
        columns: Values of each document, shape (documents,) or (documents, columns).
        statistic: Maps sums of shape (k, columns) to values of shape (k,).
        clusters: Cluster of each document, or None where documents are independent.
        draws: Number of draws.
        seed: Seed of the draws.
        level: Coverage.
    """
    sums = resample(columns, clusters, draws=draws, seed=seed)
    return percentile_interval(float(statistic(sums.observed)[0]), statistic(sums.drawn), level)


def percentile_interval(estimate: float, drawn: Floats, level: float = 0.95) -> Interval:
    """Return the percentile interval of drawn values, shape (draws,); undefined draws (NaN) are left out."""
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return Interval(estimate, float("nan"), float("nan"), level)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level)


def paired_difference(
    baseline: ArrayLike,
    candidate: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of mean(candidate) - mean(baseline) over paired documents, shape (documents,) each."""
    before, after = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    columns = np.column_stack([after - before, np.ones_like(before)])
    return bootstrap(columns, lambda s: s[:, 0] / s[:, 1], clusters, draws=draws, seed=seed, level=level)


def bootstrap_p(drawn: Floats) -> float:
    """Two-sided p-value of "the statistic is 0" by inverting the percentile interval, shape (draws,).

    Twice the smaller share of draws at or beyond 0, with one added so that it is never 0
    (Davison and Hinkley 1997, section 4.4).
    """
    beyond = min(int(np.sum(drawn <= 0)), int(np.sum(drawn >= 0)))
    return min(1.0, 2 * (beyond + 1) / (len(drawn) + 1))


def _draw_many(sums: Floats, draws: int, rng: np.random.Generator) -> Floats:
    size = len(sums)
    step = max(1, _CHUNK // size)
    blocks = []
    for start in range(0, draws, step):
        count = min(step, draws - start)
        picks = rng.integers(0, size, (count, size)) + np.arange(count)[:, None] * size
        weights = np.bincount(picks.ravel(), minlength=count * size).reshape(count, size)
        blocks.append(weights @ sums)
    return np.concatenate(blocks)
