"""What steps ask of a model, and how fast a model answers: the arithmetic of estimates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qharness.jobs.spent import Spent

LEAST_SHARE = 0.1
"""Least share of a measured time that is counted as decoding, however much prefill should have taken."""


@dataclass(frozen=True)
class StepSize:
    """What a step asks of a model.

    Attributes:
        documents: Documents, prompts or windows.
        requests: Requests.
        prefill: Tokens of prefill passes, padding included.
        decode: Most tokens that are fed one by one.
        share: Which share of those is expected, as texts may end before their limit.
        build: Seconds that building the requests and scoring the answers takes.
        slots: Most key-value slots that a batch holds.
    """

    documents: int
    requests: int
    prefill: int
    decode: int
    share: float = 1.0
    build: float = 0.0
    slots: int = 0

    @property
    def tokens(self) -> float:
        """Tokens that are expected to be forwarded."""
        return self.prefill + self.decode * self.share


@dataclass(frozen=True)
class Rates:
    """Tokens a second: in prefill passes, and fed one by one (all rows of a batch together)."""

    prefill: float
    decode: float

    def seconds(self, prefill: float, decode: float) -> float:
        """Return how long so many tokens take."""
        return prefill / self.prefill + decode / self.decode

    def of(self, size: StepSize) -> float:
        """Return how long a step takes, the building of its requests included."""
        return size.build + self.seconds(size.prefill, size.decode * size.share)


def rates_of(reading: Iterable[Spent], writing: Iterable[Spent]) -> Rates:
    """Return the rates that measurements tell.

    Args:
        reading: Batches of prefill alone.
        writing: Batches that prefill prompts and then feed tokens one by one; without any, decoding counts as prefill.

    Raises:
        ValueError: Nothing was measured.
    """
    read = sum(reading, Spent())
    if not read.prefill or read.seconds <= 0:
        raise ValueError("no prefill was measured")
    prefill = read.prefill / read.seconds
    written = sum(writing, Spent())
    if not written.decode or written.seconds <= 0:
        return Rates(prefill, prefill)
    left = max(written.seconds - written.prefill / prefill, LEAST_SHARE * written.seconds)
    return Rates(prefill, written.decode / left)
