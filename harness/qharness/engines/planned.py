"""Work that is planned before it begins: batches are its units, each stored as soon as it is answered."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from qharness.engines.base import Generation, GenerationRequest, Likelihood, LikelihoodRequest, Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from qharness.evaluation.cache import RequestCache

A = TypeVar("A", bound=tuple[Any, ...])
RequestPath = Literal["loglikelihood", "decode_loglikelihood", "generate"]
"""The method of an engine that answers a list of requests."""


@dataclass(frozen=True)
class Work:
    """What a batch makes the model do.

    Attributes:
        prefill: Tokens of prefill passes, padding included, without those of `prompts`.
        decode: Most tokens that are fed one by one.
        slots: Key-value slots that are held at once.
        prompts: Prompts that are prefilled one by one, unless the engine remembers them.
    """

    prefill: int = 0
    decode: int = 0
    slots: int = 0
    prompts: tuple[tuple[int, ...], ...] = ()

    @property
    def tokens(self) -> int:
        """Most tokens that are forwarded."""
        return self.prefill + self.decode + sum(map(len, self.prompts))


@dataclass(frozen=True)
class Batch(Generic[A]):
    """A unit of work.

    Attributes:
        members: Indexes of the requests it answers.
        compute: Answers them, by index.
        work: What it costs.
    """

    members: Sequence[int]
    compute: Callable[[], Mapping[int, A]]
    work: Work = field(default_factory=Work)


@dataclass(frozen=True)
class Planned(Generic[A]):
    """A list of requests with its batches.

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
        for place in places:
            if self._stored(self.batches[place]) is None:
                self._compute(self.batches[place])

    def run(self, progress: Progress) -> list[A]:
        """Answer all requests, in their order.

        Args:
            progress: Told after every batch.
        """
        if self.cache is not None:
            self.cache.refresh()
        answers: dict[int, A] = {}
        for batch in self.batches:
            stored = self._stored(batch)
            answers.update(self._compute(batch) if stored is None else stored)
            progress(len(answers), len(self.keys))
        return [answers[index] for index in range(len(self.keys))]

    def _stored(self, batch: Batch[A]) -> Mapping[int, A] | None:
        if self.cache is None:
            return None
        found: dict[int, A] = {}
        for index in batch.members:
            fields = self.cache.get(self.keys[index])
            if fields is None:
                return None
            found[index] = self.make(*fields)
        return found

    def _compute(self, batch: Batch[A]) -> Mapping[int, A]:
        fresh = batch.compute()
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
    forwarded: Forwarded
    remembered: int = 0
    state_bytes: int = 0
    weight_bytes: int = 0
    linear_weights: int = 0

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
