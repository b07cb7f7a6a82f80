"""The executor of this machine: a process for each GPU, or single-threaded processes that share the cores."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.queues import Queue
from typing import TypeVar

from qharness.errors import QharnessError
from qharness.executors.base import assign_device

T = TypeVar("T")
R = TypeVar("R")

MOST_CPU_WORKERS = 8
"""Each holds a model; more than that rarely pays on one machine."""
LIVES = 3
"""How often workers may die before the run gives up."""


class WorkersDied(QharnessError):
    """Worker processes died again and again."""


class LocalExecutor:
    """Runs jobs in worker processes and repeats the jobs of a worker that died.

    On a CPU each worker has an equal share of the cores: threads of one process wait for one another at every small
    operation, processes do not.

    Args:
        device: Device of the run; `cuda` uses every GPU, `cuda:1` that one alone.
        workers: Number of processes; chosen by the device when 0.
    """

    name = "local"

    def __init__(self, device: str = "cpu", workers: int = 0) -> None:
        self._devices = devices_of(device, workers)
        self._threads = max(1, cores() // len(self._devices))
        self._pool: ProcessPoolExecutor | None = None
        self._deaths = 0

    @property
    def workers(self) -> int:
        """Number of processes."""
        return len(self._devices)

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Start all jobs and yield their results in order; the jobs of a dead worker are started again.

        Raises:
            WorkersDied: Workers died more than `LIVES` times.
        """
        listed = list(jobs)
        futures: list[Future[R]] = [self._submit(function, job) for job in listed]
        for place in range(len(listed)):
            while True:
                try:
                    result = futures[place].result()
                    break
                except BrokenProcessPool:
                    self._replace_workers()
                    for later in range(place, len(listed)):
                        if not _succeeded(futures[later]):
                            futures[later] = self._submit(function, listed[later])
            yield result

    def shutdown(self) -> None:
        """Stop the workers; jobs that have not begun are dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _submit(self, function: Callable[[T], R], job: T) -> Future[R]:
        if self._pool is None:
            context = get_context("spawn")
            devices: Queue[str] = context.Queue()
            for device in self._devices:
                devices.put(device)
            start = (devices, self._threads, os.getpid())
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=start)
            for _ in range(self.workers):
                self._pool.submit(_warm_up)
        try:
            return self._pool.submit(function, job)
        except BrokenProcessPool as error:
            broken: Future[R] = Future()
            broken.set_exception(error)
            return broken

    def _replace_workers(self) -> None:
        self.shutdown()
        self._deaths += 1
        if self._deaths > LIVES:
            raise WorkersDied(
                f"Worker processes died {self._deaths} times, perhaps for want of memory; what is finished is kept. "
                "Continue with --resume, or use --executor inline."
            )


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def devices_of(device: str, workers: int = 0) -> list[str]:
    """Return the device of each worker."""
    if device == "cuda":
        import torch

        found = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        return [found[index % len(found)] for index in range(workers or len(found))]
    if device == "cpu":
        return [device] * (workers or min(cores(), MOST_CPU_WORKERS))
    return [device] * (workers or 1)


def _succeeded(future: Future[R]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _begin(devices: Queue[str], threads: int, parent: int) -> None:
    """Prepare a worker before it imports torch: its device, its threads, and an end together with its parent."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    assign_device(devices.get())
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _warm_up() -> None:
    """Import what every job needs, in all workers at once, while the first job goes on in one of them."""
    for name in ("transformers.models.auto.modeling_auto", "lm_eval.evaluator"):
        import_module(name)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
