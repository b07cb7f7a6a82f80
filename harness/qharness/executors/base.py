"""Where jobs run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

J = TypeVar("J")
R = TypeVar("R")

Settle = Callable[[Any, Any], Iterable[Any]]
"""Called in the conducting process with a job and its result; returns the jobs that follow from it."""


@dataclass(frozen=True)
class ExecutorRequest:
    """What an executor is asked for.

    Attributes:
        device: Device of the run: `cpu`, `cuda` for every GPU, `cuda:1` for that one alone.
        workers: Number of workers; chosen by the device when 0.
        address: Address of an existing cluster, or empty.
    """

    device: str = "cpu"
    workers: int = 0
    address: str = ""


class Executor(Protocol):
    """Runs jobs; a job carries paths and digests, never tensors.

    Functions, jobs and results may cross to other processes: they must survive pickling.
    """

    name: str

    @property
    def workers(self) -> int:
        """How many jobs run at once."""

    def run(self, function: Callable[[J], R], jobs: Iterable[J], settle: Callable[[J, R], Iterable[J]]) -> None:
        """Run `function` on every job and on the jobs that follow from them.

        Args:
            function: What is done with a job.
            jobs: The first jobs, started in their order.
            settle: Called in this process as soon as a job is done, with the job and its result; the jobs that it
                returns are started before those that still wait.
        """

    def shutdown(self) -> None:
        """Release the workers."""


_assigned: str | None = None


def assign_device(device: str) -> None:
    """Give this process a device of its own; an executor's worker calls it before its first job."""
    global _assigned
    _assigned = device


def assigned_device(device: str) -> str:
    """Return the device given to this process, or the one that the plan names."""
    return _assigned or device
