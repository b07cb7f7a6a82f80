"""Where jobs run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Runs jobs; a job carries paths and digests, never tensors."""

    name: str

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Run `function` on every job and yield the results in the order of the jobs."""

    def shutdown(self) -> None:
        """Release the workers."""
