"""Configurations that differ only in the seed of the quantization, pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qharness.results.measured import Measured
from qharness.results.shape import SeedsRow
from qharness.statistics.evidence import DecodeAgreement, Degeneration, Evidence
from qharness.statistics.intervals import Interval
from qharness.statistics.quantizations import across_quantizations
from qharness.statistics.verdicts import judge


def pooled_seeds(configurations: Sequence[Measured], evidence: Mapping[str, Evidence]) -> list[SeedsRow]:
    """Return a row for each group of at least two seeds, with intervals over documents and quantizations.

    Args:
        configurations: Everything that was measured.
        evidence: Evidence about each configuration, by id; those without are left out.
    """
    groups: dict[object, list[Measured]] = {}
    for measured in configurations:
        if measured.id in evidence and not measured.is_baseline:
            groups.setdefault((replace(measured.cell, seed=0, artifact_digest=""), measured.template), []).append(
                measured
            )
    return [_row(group, [evidence[m.id] for m in group]) for group in groups.values() if len(group) > 1]


def _row(group: Sequence[Measured], found: Sequence[Evidence]) -> SeedsRow:
    r_mc, r_gen = (_at_least_zero(_pool([getattr(e, name) for e in found])) for name in ("r_mc", "r_gen"))
    index = _pool([e.index for e in found])
    whole = replace(
        found[0],
        r_mc=r_mc,
        r_gen=r_gen,
        index=index,
        documents=min(e.documents for e in found),
        quantizations=len(group),
        decode=_together([e.decode for e in found]),
        free=_texts([e.free for e in found]),
    )
    judgement = judge(whole)
    return {
        "configs": [m.id for m in group],
        "plugin": group[0].cell.plugin,
        "seeds": [m.cell.seed for m in group],
        "r_mc": _bounds(r_mc),
        "r_gen": _bounds(r_gen),
        "index": _bounds(index),
        "verdict": judgement.verdict,
        "reason": judgement.reason,
    }


def _pool(intervals: Sequence[Interval | None]) -> Interval | None:
    known = [interval for interval in intervals if interval is not None]
    return across_quantizations(known) if len(known) == len(intervals) else None


def _at_least_zero(interval: Interval | None) -> Interval | None:
    """Return the part of a retention's interval that a retention can reach."""
    return None if interval is None else replace(interval, low=max(0.0, interval.low), high=max(0.0, interval.high))


def _together(parts: Sequence[DecodeAgreement | None]) -> DecodeAgreement | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    gap = sum(part.gap for part in known) / len(known)
    return DecodeAgreement(sum(p.documents for p in known), sum(p.agreeing for p in known), gap)


def _texts(parts: Sequence[Degeneration | None]) -> Degeneration | None:
    known = [part for part in parts if part is not None]
    return Degeneration(sum(p.texts for p in known), sum(p.degenerate for p in known)) if known else None


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.estimate, interval.low, interval.high]
