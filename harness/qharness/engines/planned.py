"""Runs a plan batch by batch, storing each batch's answers as soon as they exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from qharness.engines.base import Progress

if TYPE_CHECKING:
    from qharness.evaluation.cache import RequestCache

A = TypeVar("A", bound=tuple[Any, ...])


def run_planned(
    batches: Sequence[Sequence[int]],
    keys: Sequence[str],
    compute: Callable[[Sequence[int]], Mapping[int, A]],
    make: Callable[[Sequence[Any]], A],
    cache: RequestCache | None,
    progress: Progress,
) -> list[A]:
    """Answer all requests.

    The plan is made before the cache is asked, and a batch of which any answer is missing is computed whole, so that
    a resumed run has the batch shapes, and with them the last bits, of an uninterrupted one.

    Args:
        batches: Indexes of the requests, batch by batch.
        keys: Cache key of each request.
        compute: Answers one batch, by index.
        make: Rebuilds an answer from its stored fields.
        cache: Where answers are kept, or None.
        progress: Told after every batch.
    """
    answers: dict[int, A] = {}
    for batch in batches:
        stored = {index: cache.get(keys[index]) for index in batch} if cache else {}
        if stored and all(fields is not None for fields in stored.values()):
            answers.update({index: make(fields) for index, fields in stored.items() if fields is not None})
        else:
            fresh = compute(batch)
            if cache:
                cache.put({keys[index]: list(answer) for index, answer in fresh.items()})
            answers.update(fresh)
        progress(len(answers), len(keys))
    return [answers[index] for index in range(len(keys))]
