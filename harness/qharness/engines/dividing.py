"""An engine that hands large work out: what it is asked goes to a file, from which any worker answers a part."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.engines.base import LikelihoodRequest
from qharness.engines.following import FollowingEngine
from qharness.engines.planned import Planned, PlannedEngine, RequestPath
from qharness.engines.requests import RequestList
from qharness.evaluation.cache import identity_digest

if TYPE_CHECKING:
    from torch import Tensor

CHUNKS_A_WORKER = 4
"""Chunks of a large list that each worker gets: the last ones to end leave others idle for a short while."""


@dataclass(frozen=True)
class Division:
    """A list of requests that is answered in chunks.

    Attributes:
        path: File with the requests.
        plan: Digest of the plan.
        chunks: Places of the batches of each chunk.
    """

    path: Path
    plan: str
    chunks: tuple[tuple[int, ...], ...]


class Divided(BaseException):
    """The end of a job, and no error, that no evaluator may take for one: what is asked is now on file."""

    def __init__(self, division: Division) -> None:
        super().__init__(division)
        self.division = division


@dataclass(frozen=True)
class Share:
    """How work is divided.

    Attributes:
        workers: Workers that share it.
        chunk_tokens: Least work of a chunk.
        folder: Where lists of requests are written.
    """

    workers: int
    chunk_tokens: int
    folder: Path


def chunks_of(planned: Planned[Any], share: Share) -> tuple[tuple[int, ...], ...]:
    """Cut the batches that are not answered yet into chunks of similar work, in their order."""
    missing = planned.missing()
    total = sum(planned.batches[place].work.tokens for place in missing)
    size = max(share.chunk_tokens, total // (CHUNKS_A_WORKER * share.workers))
    chunks: list[list[int]] = []
    filled = size
    for place in missing:
        if filled >= size:
            chunks.append([])
            filled = 0
        chunks[-1].append(place)
        filled += planned.batches[place].work.tokens
    return tuple(map(tuple, chunks))


class DividingEngine(PlannedEngine):
    """Answers small lists of requests with an engine, and ends the job for large ones.

    Args:
        engine: The engine.
        share: How work is divided.
        answered: Digests of plans that were divided before and are answered by now.

    Raises:
        Divided: By its methods, in place of an answer.
    """

    def __init__(self, engine: PlannedEngine, share: Share, answered: Collection[str] = ()) -> None:
        self._engine, self._share = engine, share
        self.unseen = set(answered)
        self._answered = frozenset(answered)
        self.name, self.notice, self.identity = engine.name, engine.notice, engine.identity
        self.tokenizer, self.max_length, self.kernels = engine.tokenizer, engine.max_length, engine.kernels
        self.forwarded = engine.forwarded

    def plan(self, path: RequestPath, requests: Sequence[Any]) -> Planned[Any]:
        """Return the plan of a list of requests that this job answers by itself."""
        planned = self._engine.plan(path, requests)
        plan = planned.digest
        self.unseen.discard(plan)
        if plan in self._answered or planned.cache is None:
            return planned
        chunks = chunks_of(planned, self._share)
        if len(chunks) < 2:
            return planned
        file = self._share.folder / f"{plan[:24]}.parquet"
        RequestList(path, requests, identity_digest(self.identity), plan).write(file)
        raise Divided(Division(file, plan, chunks))

    def close(self) -> None:
        """Leave the engine open: others use it, too."""


class FollowingDividingEngine(DividingEngine):
    """The same for an engine that shows its distributions; those are never divided."""

    _engine: Any

    def path_logits(self, request: LikelihoodRequest) -> Tensor:
        """Return the engine's logits."""
        logits: Tensor = self._engine.path_logits(request)
        return logits

    def follow(self, requests: Sequence[LikelihoodRequest]) -> Iterator[Tensor]:
        """Return the engine's logits."""
        found: Iterator[Tensor] = self._engine.follow(requests)
        return found


def dividing(engine: PlannedEngine, share: Share, answered: Collection[str]) -> DividingEngine:
    """Return the engine as one that divides large work."""
    kind = FollowingDividingEngine if isinstance(engine, FollowingEngine) else DividingEngine
    return kind(engine, share, answered)
