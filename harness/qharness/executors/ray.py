"""The executor of a Ray cluster: an existing one by its address, or one that is started on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qharness.errors import QharnessError, UsageError
from qharness.executors.base import ExecutorRequest
from qharness.executors.pool import MOST_CPU_WORKERS, Died, PoolExecutor, cores, prepare_worker

STORE = 128 << 20
"""Bytes of a started cluster's object store: jobs and results are small."""
HERE = "local"
"""Ray's own word for a cluster of this machine alone."""


class NoCluster(QharnessError):
    """There is no Ray cluster at an address, or it lacks what a worker needs."""


def check(request: ExecutorRequest) -> None:
    """Refuse what this executor cannot do.

    Raises:
        UsageError: Ray is not installed, or one GPU is named.
    """
    if find_spec("ray") is None:
        raise UsageError("The executor 'ray' needs Ray, which is not installed: pip install 'qharness[ray]'.")
    if ":" in request.device:
        raise UsageError(f"--device {request.device} names one GPU, but Ray hands out GPUs itself: use --device cuda.")


class RayExecutor(PoolExecutor[Any]):
    """Runs jobs in Ray actors and repeats the job of an actor that died.

    Each actor has a GPU, or an equal share of the cluster's cores. All machines of the cluster need this version of
    qharness, its plugins, and the run's folder under the same path.

    Args:
        request: Device, number of workers and address; without an address that of `RAY_ADDRESS`, else a cluster is
            started here.

    Raises:
        NoCluster: The cluster cannot be reached, or has no GPU for a run on GPUs.
    """

    name = "ray"

    def __init__(self, request: ExecutorRequest) -> None:
        import ray

        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            _connect(request.address or os.environ.get("RAY_ADDRESS") or HERE)
        self._device = request.device
        kind = "CPU" if request.device == "cpu" else "GPU"
        found = float(ray.cluster_resources().get(kind, 0))
        if not found:
            self.shutdown()
            raise NoCluster(f"The Ray cluster has no {kind} for --device {request.device}.")
        most = int(found) if kind == "GPU" else min(int(found), MOST_CPU_WORKERS * len(ray.nodes()))
        self._count = request.workers or max(1, most)
        self._share = found / self._count if found < self._count else float(int(found / self._count))
        self._actors: list[Any] = []
        self._idle: list[Any] = []
        self._busy: dict[Any, Any] = {}

    @property
    def workers(self) -> int:
        """Number of actors."""
        return self._count

    def shutdown(self) -> None:
        """Stop the actors, and the cluster if it was started or joined by this executor."""
        import ray

        for actor in [*getattr(self, "_idle", []), *getattr(self, "_busy", {}).values()]:
            ray.kill(actor)
        self._idle, self._busy = [], {}
        if self._is_ours:
            ray.shutdown()

    def _start(self, function: Callable[[Any], Any], job: Any) -> Any:
        actor = self._idle.pop() if self._idle else self._new_actor()
        reference = actor.do.remote(function, job)
        self._busy[reference] = actor
        return reference

    def _wait(self, handles: list[Any]) -> Iterable[Any]:
        import ray

        return list(ray.wait(handles, num_returns=1)[0])

    def _result(self, handle: Any) -> Any:
        import ray
        from ray.exceptions import RayError, RayTaskError

        actor = self._busy.pop(handle)
        try:
            result = ray.get(handle)
        except RayTaskError as error:
            self._idle.append(actor)
            raise error.cause from None
        except RayError as error:
            if getattr(error, "actor_init_failed", False):
                raise NoCluster(
                    "A worker of the Ray cluster cannot start; every machine needs the same qharness and plugins: "
                    f"{str(error).strip().splitlines()[-1]}"
                ) from error
            ray.kill(actor)
            raise Died from None
        self._idle.append(actor)
        return result

    def _new_actor(self) -> Any:
        import ray

        wanted = {"num_cpus": self._share} if self._device == "cpu" else {"num_cpus": 0, "num_gpus": self._share}
        device = self._device if self._device == "cpu" else "cuda:0"
        threads = max(1, int(self._share)) if self._device == "cpu" else 1
        return ray.remote(Worker).options(**wanted).remote(device, threads, str(Path.cwd()))


class Worker:
    """Does jobs in a process of the cluster.

    Args:
        device: Its device; Ray shows a process its own GPU alone.
        threads: Threads of torch.
        folder: Working folder of the run.
    """

    def __init__(self, device: str, threads: int, folder: str) -> None:
        prepare_worker(device, threads)
        self._folder = folder

    def do(self, function: Callable[[Any], Any], job: Any) -> Any:
        """Do a job in the run's working folder.

        Raises:
            NoCluster: The folder is not on this machine.
        """
        if not Path(self._folder).is_dir():
            raise NoCluster(
                f"A worker of the Ray cluster does not see the folder '{self._folder}': its machines must share it."
            )
        os.chdir(self._folder)
        return function(job)


def _connect(address: str) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "error"}
    if address == HERE:
        options |= {"include_dashboard": False, "num_cpus": cores(), "object_store_memory": STORE}
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise NoCluster(
            f"There is no Ray cluster at '{address}' ({str(error).splitlines()[0]}). Start one with `ray start --head` "
            "and name its address with --ray-address, or drop the address to start one on this machine."
        ) from error
