"""Runs a plan batch by batch, storing each batch's answers as soon as they exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from qharness.engines.base import Progress

if TYPE_CHECKING:
    from qharness.evaluation.cache import RequestCache

AHEAD = 1
"""Batches that stay queued on a device while the answers of an earlier one are fetched."""

A = TypeVar("A", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Batch(Generic[A]):
    """A unit of work.

    Attributes:
        members: Indexes of the requests it answers.
        compute: Answers them, by index; or queues the work on a device and returns a function that waits for it.
    """

    members: Sequence[int]
    compute: Callable[[], Mapping[int, A] | Callable[[], Mapping[int, A]]]


def run_planned(
    batches: Sequence[Batch[A]],
    keys: Sequence[str],
    make: Callable[..., A],
    cache: RequestCache | None,
    progress: Progress,
) -> list[A]:
    """Answer all requests.

    A batch is queued before the answers of the one before it are fetched, so that a device is never without work. The
    plan is made before the cache is asked, and a batch of which any answer is missing is computed whole, so that
    a resumed run has the batch shapes, and with them the last bits, of an uninterrupted one.

    Args:
        batches: The plan; together its members are all requests.
        keys: Cache key of each request.
        make: Rebuilds an answer from its stored fields.
        cache: Where answers are kept, or None.
        progress: Told after every batch.
    """
    answers: dict[int, A] = {}
    queued: list[Callable[[], Mapping[int, A]]] = []

    def take(fresh: Mapping[int, A]) -> None:
        if cache is not None:
            cache.put({keys[index]: list(answer) for index, answer in fresh.items()})
        answers.update(fresh)
        progress(len(answers), len(keys))

    for batch in batches:
        stored = [cache.get(keys[index]) for index in batch.members] if cache is not None else [None]
        if None not in stored:
            found = zip(batch.members, stored, strict=True)
            answers.update((index, make(*fields)) for index, fields in found if fields)
            progress(len(answers), len(keys))
            continue
        fresh = batch.compute()
        if callable(fresh):
            queued.append(fresh)
        else:
            take(fresh)
        while len(queued) > AHEAD:
            take(queued.pop(0)())
    for wait in queued:
        take(wait())
    return [answers[index] for index in range(len(keys))]
