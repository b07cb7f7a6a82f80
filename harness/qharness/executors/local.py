"""The executor of this machine: a process for each GPU, or single-threaded processes that share the cores."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.queues import Queue
from typing import Any

from qharness.executors.base import ExecutorRequest
from qharness.executors.pool import MOST_CPU_WORKERS, Died, PoolExecutor, cores, prepare_worker


class LocalExecutor(PoolExecutor["Future[Any]"]):
    """Runs jobs in worker processes and repeats the jobs of a worker that died.

    On a CPU each worker has an equal share of the cores: threads of one process wait for one another at every small
    operation, processes do not.

    Args:
        request: Device and number of workers.
    """

    name = "local"

    def __init__(self, request: ExecutorRequest) -> None:
        self._devices = devices_of(request.device, request.workers)
        self._threads = max(1, cores() // len(self._devices))
        self._pool: ProcessPoolExecutor | None = None

    @property
    def workers(self) -> int:
        """Number of processes."""
        return len(self._devices)

    def shutdown(self) -> None:
        """Stop the workers; jobs that have not begun are dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _start(self, function: Callable[[Any], Any], job: Any) -> Future[Any]:
        try:
            return self._processes().submit(function, job)
        except BrokenProcessPool:
            self.shutdown()
            return self._processes().submit(function, job)

    def _wait(self, handles: list[Future[Any]]) -> Iterable[Future[Any]]:
        return wait(handles, return_when=FIRST_COMPLETED).done

    def _result(self, handle: Future[Any]) -> Any:
        try:
            return handle.result()
        except BrokenProcessPool:
            raise Died from None

    def _processes(self) -> ProcessPoolExecutor:
        """Return the pool; a new one if there is none."""
        if self._pool is None:
            context = get_context("spawn")
            devices: Queue[str] = context.Queue()
            for device in self._devices:
                devices.put(device)
            start = (devices, self._threads, os.getpid())
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=start)
            for _ in range(self.workers):
                self._pool.submit(_warm_up)
        return self._pool


def devices_of(device: str, workers: int = 0) -> list[str]:
    """Return the device of each worker."""
    if device == "cuda":
        import torch

        found = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        return [found[index % len(found)] for index in range(workers or len(found))]
    if device == "cpu":
        return [device] * (workers or min(cores(), MOST_CPU_WORKERS))
    return [device] * (workers or 1)


def _begin(devices: Queue[str], threads: int, parent: int) -> None:
    """Prepare a worker, which ends together with its parent."""
    prepare_worker(devices.get(), threads)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _warm_up() -> None:
    """Import what every job needs, in all workers at once, while the first job goes on in one of them."""
    for name in ("transformers.models.auto.modeling_auto", "lm_eval.evaluator"):
        import_module(name)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
