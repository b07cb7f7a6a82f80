"""Work that is planned before it begins: batches are its units, each stored as soon as it is answered."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from qharness.engines.base import Generation, GenerationRequest, Likelihood, LikelihoodRequest, Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from qharness.evaluation.cache import RequestCache

AHEAD = 1
"""Batches that stay queued on a device while the answers of an earlier one are fetched."""

A = TypeVar("A", bound=tuple[Any, ...])
Answers = Mapping[int, A]
RequestPath = Literal["loglikelihood", "decode_loglikelihood", "generate"]
"""The method of an engine that answers a list of requests."""


@dataclass(frozen=True)
class Work:
    """What a batch makes the model do.

    Attributes:
        prefill: Tokens of prefill passes, padding included, without those of `pieces`.
        decode: Most tokens that are fed one by one.
        slots: Key-value slots that are held at once.
        pieces: Pieces of prompts that are prefilled unless the engine remembers them, with the tokens of each.
    """

    prefill: int = 0
    decode: int = 0
    slots: int = 0
    pieces: Mapping[Hashable, int] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Most tokens that are forwarded."""
        return self.prefill + self.decode + sum(self.pieces.values())


@dataclass(frozen=True)
class Batch(Generic[A]):
    """A unit of work.

    Attributes:
        members: Indexes of the requests it answers.
        compute: Answers them, by index; or queues the work on a device and returns a function that waits for it.
        work: What it costs.
    """

    members: Sequence[int]
    compute: Callable[[], Answers[A] | Callable[[], Answers[A]]]
    work: Work = field(default_factory=Work)


@dataclass(frozen=True)
class Planned(Generic[A]):
    """A list of requests with its batches.

    A batch is queued before the answers of the one before it are fetched, so that a device is never without work.

    The plan is made before the cache is asked, and a batch of which any answer is missing is computed whole, so that
    neither a resumed run nor another executor changes the batch shapes, and with them the last bits.

    Attributes:
        batches: The plan; together its members are all requests.
        keys: Cache key of each request.
        make: Rebuilds an answer from its stored fields.
        cache: Where answers are kept, or None.
    """

    batches: Sequence[Batch[A]]
    keys: Sequence[str]
    make: Callable[..., A]
    cache: RequestCache | None

    @property
    def digest(self) -> str:
        """SHA-256 over all requests and over which of them share a batch."""
        digest = hashlib.sha256()
        for batch in self.batches:
            digest.update(",".join(f"{index}:{self.keys[index]}" for index in batch.members).encode() + b";")
        return digest.hexdigest()

    def missing(self) -> list[int]:
        """Return the places of the batches of which any answer is not stored."""
        if self.cache is None:
            return list(range(len(self.batches)))
        self.cache.refresh()
        return [place for place, batch in enumerate(self.batches) if self._stored(batch) is None]

    def store(self, places: Iterable[int]) -> None:
        """Compute those batches that are not stored yet, and store their answers."""
        wanted = [self.batches[place] for place in places]
        for _ in self._computed(batch for batch in wanted if self._stored(batch) is None):
            pass

    def run(self, progress: Progress) -> list[A]:
        """Answer all requests, in their order.

        Args:
            progress: Told after every batch.
        """
        answers: dict[int, A] = {}
        missing = []
        if self.cache is not None:
            self.cache.refresh()
        for batch in self.batches:
            stored = self._stored(batch)
            if stored is None:
                missing.append(batch)
            else:
                answers.update(stored)
        if answers:
            progress(len(answers), len(self.keys))
        for fresh in self._computed(missing):
            answers.update(fresh)
            progress(len(answers), len(self.keys))
        return [answers[index] for index in range(len(self.keys))]

    def _stored(self, batch: Batch[A]) -> Answers[A] | None:
        if self.cache is None:
            return None
        found: dict[int, A] = {}
        for index in batch.members:
            fields = self.cache.get(self.keys[index])
            if fields is None:
                return None
            found[index] = self.make(*fields)
        return found

    def _computed(self, batches: Iterable[Batch[A]]) -> Iterator[Answers[A]]:
        """Yield the answers of batches, stored."""
        queued: list[Callable[[], Answers[A]]] = []
        for batch in batches:
            fresh = batch.compute()
            if callable(fresh):
                queued.append(fresh)
            else:
                yield self._put(fresh)
            while len(queued) > AHEAD:
                yield self._put(queued.pop(0)())
        for wait in queued:
            yield self._put(wait())

    def _put(self, fresh: Answers[A]) -> Answers[A]:
        if self.cache is not None:
            self.cache.put({self.keys[index]: list(answer) for index, answer in fresh.items()})
        return fresh


@dataclass
class Forwarded:
    """Tokens that a model has forwarded so far, padding included: in prefill passes, and one by one."""

    prefill: int = 0
    decode: int = 0


class PlannedEngine(ABC):
    """An engine that plans its batches before it computes them, so that any worker with the same model can do so.

    Attributes:
        identity: Everything about model and engine that can change an answer.
        kernels: What served the modules of the model, see `qharness.serving.model.summary`.
        forwarded: What the model has done so far.
        remembered: How many prompt tokens are remembered between calls.
        state_bytes: Bytes of the keys and values of one token.
        weight_bytes: Bytes of the model in memory.
        linear_weights: Number of weights that a quantizer would quantize; 0 if the engine cannot tell.
    """

    name: str
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    identity: Mapping[str, Any]
    notice: str
    kernels: Sequence[Mapping[str, Any]] = ()
    forwarded: Forwarded
    remembered: int = 0
    state_bytes: int = 0
    weight_bytes: int = 0
    linear_weights: int = 0

    @property
    def tokens_fed(self) -> int:
        """Return how many tokens went through the model so far, padding included."""
        return self.forwarded.prefill + self.forwarded.decode

    @abstractmethod
    def close(self) -> None:
        """Free the model."""

    @abstractmethod
    def plan(self, path: RequestPath, requests: Sequence[Any]) -> Planned[Any]:
        """Return the batches of a list of requests; the same for the same list, whatever was asked before."""

    def loglikelihood(self, requests: Sequence[LikelihoodRequest], progress: Progress) -> list[Likelihood]:
        """Score continuations in prefill."""
        return self.plan("loglikelihood", requests).run(progress)

    def decode_loglikelihood(self, requests: Sequence[LikelihoodRequest], progress: Progress) -> list[Likelihood]:
        """Score continuations with the last 16 context tokens and the continuation fed one by one through the cache."""
        return self.plan("decode_loglikelihood", requests).run(progress)

    def generate(self, requests: Sequence[GenerationRequest], progress: Progress) -> list[Generation]:
        """Generate continuations; prompts lose tokens on the left until prompt and continuation fit the model."""
        return self.plan("generate", requests).run(progress)
