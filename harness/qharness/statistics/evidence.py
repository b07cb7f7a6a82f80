"""What a verdict rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qharness.statistics.dissociation import SetRetention
from qharness.statistics.intervals import Interval, wilson


@dataclass(frozen=True)
class DecodeAgreement:
    """The same multiple-choice log-likelihoods in prefill and through the decode cache.

    Attributes:
        documents: Documents measured both ways.
        agreeing: Documents with the same choice.
        gap: Mean absolute difference in nats per scored token.
    """

    documents: int
    agreeing: int
    gap: float

    @property
    def share(self) -> Interval:
        """Share of documents with the same choice."""
        return wilson(self.agreeing, self.documents)


@dataclass(frozen=True)
class Degeneration:
    """Free generation: how many texts are degenerate."""

    texts: int
    degenerate: int

    @property
    def rate(self) -> Interval:
        """Share of degenerate texts."""
        return wilson(self.degenerate, self.texts)


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on; None where it was not measured.

    Attributes:
        r_mc: Pooled retention in multiple choice.
        r_gen: Pooled retention in written answers.
        index: Dissociation index.
        documents: Documents behind the pooled retentions.
        quantizations: Quantizations behind the intervals.
        sets: Retention of each data set.
        decode: Agreement of prefill and decode path.
        free: Free generation of the configuration.
        free_baseline: Free generation of the baseline.
        scores: Further measurements to list beside, for example the scores of the open questions.
    """

    r_mc: Interval | None = None
    r_gen: Interval | None = None
    index: Interval | None = None
    documents: int = 0
    quantizations: int = 1
    sets: tuple[SetRetention, ...] = ()
    decode: DecodeAgreement | None = None
    free: Degeneration | None = None
    free_baseline: Degeneration | None = None
    scores: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_degenerate(self) -> bool:
        """Whether free generation is degenerate against the baseline's own rate: the intervals do not overlap."""
        return bool(self.free and self.free_baseline and self.free.rate.low > self.free_baseline.rate.high)

    def plain(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold."""
        return {
            "r_mc": _bounds(self.r_mc),
            "r_gen": _bounds(self.r_gen),
            "index": _bounds(self.index),
            "documents": self.documents,
            "sets": [_set(row) for row in self.sets],
            "decode": self.decode and _decode(self.decode),
            "free": self.free and _free(self.free),
            "free_baseline": self.free_baseline and _free(self.free_baseline),
            "scores": dict(self.scores),
        }


def _bounds(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def _set(row: SetRetention) -> dict[str, Any]:
    return {
        "dataset": row.name,
        "documents": row.documents,
        "mc": _bounds(row.mc),
        "gen": _bounds(row.gen),
        "included": row.is_included,
    }


def _decode(decode: DecodeAgreement) -> dict[str, Any]:
    return {
        "documents": decode.documents,
        "agreeing": decode.agreeing,
        "agreement": _bounds(decode.share),
        "gap": decode.gap,
    }


def _free(free: Degeneration) -> dict[str, Any]:
    return {"texts": free.texts, "degenerate": free.degenerate, "rate": _bounds(free.rate)}
