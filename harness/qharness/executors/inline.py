"""The executor of one process: jobs run one after the other, where a debugger can follow them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class InlineExecutor:
    """Runs every job in this process."""

    name = "inline"

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Run the jobs lazily, in order."""
        return map(function, jobs)

    def shutdown(self) -> None:
        """Nothing to release."""
