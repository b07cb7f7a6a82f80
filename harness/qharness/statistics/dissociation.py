"""Dissociation index: does a candidate still choose but no longer write?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from qharness.statistics.bootstrap import DRAWS, Floats, percentile_interval, resample
from qharness.statistics.intervals import Interval
from qharness.statistics.retention import Side, is_informative


@dataclass(frozen=True)
class PairedSet:
    """One data set: multiple choice and written answers on the same documents in the same order.

    Attributes:
        name: Name of the data set.
        mc: Multiple choice, or None if not measured.
        gen: Written answers, or None if not measured.
        clusters: Cluster of each document, or None where documents are independent.
    """

    name: str
    mc: Side | None
    gen: Side | None
    clusters: tuple[str, ...] | None = None

    @property
    def documents(self) -> int:
        """Number of documents."""
        data = self.mc or self.gen
        return 0 if data is None else len(data.baseline)


@dataclass(frozen=True)
class SetRetention:
    """Retention of one data set.

    Attributes:
        name: Name of the data set.
        documents: Number of paired documents.
        mc: Retention in multiple choice, None if not measured or the baseline is at chance there.
        gen: Retention in written answers, likewise.
        is_included: Whether the baseline beats the best constant with confidence in everything measured.
    """

    name: str
    documents: int
    mc: Interval | None
    gen: Interval | None
    is_included: bool


@dataclass(frozen=True)
class Dissociation:
    """Pooled retentions and their difference, means over the included data sets.

    Attributes:
        sets: Every data set, included or not.
        r_mc: Mean retention in multiple choice.
        r_gen: Mean retention in written answers.
        index: Mean of r_MC - r_GEN over the data sets that have both.
    """

    sets: tuple[SetRetention, ...]
    r_mc: Interval | None
    r_gen: Interval | None
    index: Interval | None

    @property
    def documents(self) -> int:
        """Documents in the included data sets."""
        return sum(data.documents for data in self.sets if data.is_included)


@dataclass(frozen=True)
class _Drawn:
    """Retention of one side: observed, and in every draw."""

    observed: float
    drawn: Floats

    def interval(self, level: float) -> Interval:
        return percentile_interval(self.observed, self.drawn, level)


def dissociation(sets: Sequence[PairedSet], *, draws: int = DRAWS, seed: int = 0, level: float = 0.95) -> Dissociation:
    """Compute retentions and the dissociation index with a clustered bootstrap, clipping inside the draws.

    Documents of different data sets are independent, so each set is resampled on its own; within a set the
    two ways of asking are resampled together. Which sets enter depends on the baseline only.

    Args:
        sets: Data sets with paired documents.
        draws: Number of draws.
        seed: Seed of the draws.
        level: Coverage.
    """
    rows: list[SetRetention] = []
    mc_draws: list[_Drawn] = []
    gen_draws: list[_Drawn] = []
    differences: list[_Drawn] = []
    for number, data in enumerate(sets):
        key = seed * 1009 + number
        mc, gen = _draw(data, draws, key)
        mc_good = data.mc is not None and is_informative(data.mc, data.clusters, draws=draws, seed=key)
        gen_good = data.gen is not None and is_informative(data.gen, data.clusters, draws=draws, seed=key)
        included = (data.mc is None or mc_good) and (data.gen is None or gen_good) and data.documents > 0
        rows.append(
            SetRetention(
                data.name,
                data.documents,
                mc.interval(level) if mc and mc_good else None,
                gen.interval(level) if gen and gen_good else None,
                included,
            )
        )
        if included and mc:
            mc_draws.append(mc)
        if included and gen:
            gen_draws.append(gen)
        if included and mc and gen:
            differences.append(_Drawn(mc.observed - gen.observed, mc.drawn - gen.drawn))
    return Dissociation(tuple(rows), _pooled(mc_draws, level), _pooled(gen_draws, level), _pooled(differences, level))


def _draw(data: PairedSet, draws: int, seed: int) -> tuple[_Drawn | None, _Drawn | None]:
    blocks = [side.columns() for side in (data.mc, data.gen) if side is not None]
    if not blocks:
        return None, None
    sums = resample(np.concatenate(blocks, axis=1), _keys(data), draws=draws, seed=seed)
    answers: list[_Drawn | None] = []
    start = 0
    for side in (data.mc, data.gen):
        if side is None:
            answers.append(None)
            continue
        columns = slice(start, start + side.columns().shape[1])
        start = columns.stop
        observed = float(side.retention(sums.observed[:, columns])[0])
        answers.append(_Drawn(observed, side.retention(sums.drawn[:, columns])))
    return answers[0], answers[1]


def _keys(data: PairedSet) -> ArrayLike | None:
    return None if data.clusters is None else np.asarray(data.clusters)


def _pooled(parts: Sequence[_Drawn], level: float) -> Interval | None:
    if not parts:
        return None
    observed = float(np.mean([part.observed for part in parts]))
    drawn = np.stack([part.drawn for part in parts])
    defined = ~np.isnan(drawn)
    count = defined.sum(axis=0)
    total = np.where(defined, drawn, 0.0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return percentile_interval(observed, mean, level)
