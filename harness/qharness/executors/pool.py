"""What executors with workers share: a queue, and jobs that are repeated when their worker dies."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from qharness.errors import QharnessError
from qharness.executors.base import assign_device

H = TypeVar("H")
J = TypeVar("J")
R = TypeVar("R")

LIVES = 3
"""How many workers may die on one job before the run gives up."""
MOST_CPU_WORKERS = 8
"""Each holds a model; more than that rarely pays on one machine."""


class WorkersDied(QharnessError):
    """Workers died again and again on one job."""


class Died(Exception):
    """The worker of a job is gone."""


@dataclass
class _Flight:
    """A job on its way, and how many of its workers died."""

    job: Any
    deaths: int = 0


class PoolExecutor(ABC, Generic[H]):
    """Keeps every worker at one job and repeats the job of a worker that died.

    A subclass starts jobs and tells their results by handles of its own.
    """

    name: str

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many jobs run at once."""

    def run(self, function: Callable[[J], R], jobs: Iterable[J], settle: Callable[[J, R], Iterable[J]]) -> None:
        """Run the jobs and what follows from them.

        Raises:
            WorkersDied: Workers died more than `LIVES` times on one job.
        """
        waiting = deque(_Flight(job) for job in jobs)
        flying: dict[H, _Flight] = {}
        while waiting or flying:
            while waiting and len(flying) < self.workers:
                flight = waiting.popleft()
                flying[self._start(function, flight.job)] = flight
            for handle in self._wait(list(flying)):
                flight = flying.pop(handle)
                try:
                    result = self._result(handle)
                except Died:
                    waiting.appendleft(_mourned(flight))
                    continue
                waiting.extendleft(_Flight(job) for job in reversed(list(settle(flight.job, result))))

    @abstractmethod
    def _start(self, function: Callable[[Any], Any], job: Any) -> H:
        """Start a job on an idle worker and return its handle."""

    @abstractmethod
    def _wait(self, handles: list[H]) -> Iterable[H]:
        """Wait until at least one job is done, or its worker dead, and return those."""

    @abstractmethod
    def _result(self, handle: H) -> Any:
        """Return the result of a finished job or raise its error.

        Raises:
            Died: Its worker is gone.
        """

    @abstractmethod
    def shutdown(self) -> None:
        """Release the workers."""


def _mourned(flight: _Flight) -> _Flight:
    deaths = flight.deaths + 1
    if deaths > LIVES:
        raise WorkersDied(
            f"Workers died {deaths} times on one job, perhaps for want of memory; what is finished is kept. "
            "Continue with --resume, with fewer --workers, or use --executor inline."
        )
    return _Flight(flight.job, deaths)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare_worker(device: str, threads: int) -> None:
    """Prepare a worker process before it imports torch: its device and its threads."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    assign_device(device)
