"""Where jobs run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Runs jobs; a job carries paths and digests, never tensors.

    Functions and jobs may cross to other processes: both must survive pickling.
    """

    name: str

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Run `function` on every job and yield the results in the order of the jobs."""

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
