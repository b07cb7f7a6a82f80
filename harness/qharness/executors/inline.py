"""The executor of one process: jobs run one after the other, where a debugger can follow them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from qharness.executors.base import ExecutorRequest

J = TypeVar("J")
R = TypeVar("R")


class InlineExecutor:
    """Runs every job in this process, whatever the request."""

    name = "inline"
    workers = 1

    def __init__(self, request: ExecutorRequest | None = None) -> None:
        pass

    def run(self, function: Callable[[J], R], jobs: Iterable[J], settle: Callable[[J, R], Iterable[J]]) -> None:
        """Run the jobs in order; what follows from a job comes before the next."""
        waiting = deque(jobs)
        while waiting:
            job = waiting.popleft()
            waiting.extendleft(reversed(list(settle(job, function(job)))))

    def shutdown(self) -> None:
        """Nothing to release."""
