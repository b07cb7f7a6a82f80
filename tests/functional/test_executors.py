"""Executors share the requests of a task; whatever becomes of their workers, the samples are those of one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from qharness.errors import UsageError
from qharness.executors.base import ExecutorRequest
from qharness.executors.pool import LIVES, WorkersDied
from qharness.executors.ray import NoCluster, RayExecutor, check

PASSING = {"run_id", "latency"}
"""Columns of a sample that differ between equal runs."""
ARGUMENTS = (
    "eval", "demo", "--suite", "polish22-mc", "--tasks", "8tags", "--limit", "32", "--evaluators", "mc",
    "--chunk-tokens", "2000",
)  # fmt: skip


def die_once(path):
    mark = Path(path)
    if mark.suffix == ".fragile" and not mark.exists():
        mark.touch()
        os._exit(9)
    return mark.name


def root(number):
    return number**0.5 if number >= 0 else [][number]


def die(_):
    os._exit(9)


def folder_and_threads(_):
    import torch

    return os.getcwd(), torch.get_num_threads()


def start(folder: Path, *options: str, **environment: str) -> subprocess.Popen:
    """Begin an evaluation of one task whose prompts fill several batches."""
    folder.mkdir()
    command = [sys.executable, "-c", "from qharness.cli import main; main()", *ARGUMENTS, *options]
    return subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environment}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def samples(folder: Path) -> dict[str, list[dict]]:
    """Return all samples of the folder's only run."""
    (run,) = (folder / "runs").glob("2*")
    assert (run / "done").exists() and not (run / "requests").exists()
    found = {}
    for path in sorted(run.glob("samples/*/*/*/part-*.parquet")):
        table = pq.read_table(path, partitioning=None)
        kept = [name for name in table.column_names if name not in PASSING]
        found[str(path.relative_to(run / "samples"))] = table.select(kept).to_pylist()
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, list[dict]]:
    folder = tmp_path_factory.mktemp("inline") / "run"
    process = start(folder)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    found = samples(folder)
    assert [len(rows) for rows in found.values()] == [64]
    return found


def parents() -> dict[int, tuple[int, bytes]]:
    """Return parent and command line of every process."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            found[int(status.parent.name)] = (int(fields[1]), (status.parent / "cmdline").read_bytes())
        except OSError:
            continue
    return found


def descendants(ancestor: int, command: bytes) -> list[int]:
    """Return the processes below another one whose command line holds a word."""
    known = parents()

    def is_below(pid: int) -> bool:
        while pid in known:
            pid = known[pid][0]
            if pid == ancestor:
                return True
        return False

    return [pid for pid, (_, line) in known.items() if command in line and is_below(pid)]


def kill_a_worker(process: subprocess.Popen, folder: Path, ancestor: int, command: bytes) -> None:
    """Kill one of two workers as soon as they answer chunks of one task."""
    deadline = time.monotonic() + 300
    while not list(folder.glob("runs/2*/requests/*/*.parquet")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while len(workers := descendants(ancestor, command)) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(workers[0], signal.SIGKILL)


def test_local_workers_share_a_task_and_one_may_die(expected, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "--executor", "local", "--workers", "2")
    kill_a_worker(process, folder, process.pid, b"spawn_main")
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    assert samples(folder) == expected


def test_without_ray_the_remedy_is_told_and_nothing_written(tmp_path):
    hide = "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n, *a: None if n == 'ray' else find(n)"
    code = f"{hide}\nfrom qharness.cli import main; main()"
    command = [sys.executable, "-c", code, *ARGUMENTS, "--executor", "ray"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'qharness[ray]'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_ray_hands_out_gpus_itself():
    with pytest.raises(UsageError, match="use --device cuda"):
        check(ExecutorRequest("cuda:1"))


@pytest.fixture(scope="module")
def cluster():
    """One Ray cluster for all tests, started by this process."""
    import ray
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=1 << 27)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture
def executor(cluster):
    executor = RayExecutor(ExecutorRequest("cpu", workers=2))
    yield executor
    executor.shutdown()


def done(executor, function, jobs) -> dict:
    results = {}

    def settle(job, result):
        results[job] = result
        return ()

    executor.run(function, jobs, settle)
    return results


@pytest.mark.ray
def test_actors_work_in_the_run_folder_and_share_the_cores(executor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert done(executor, folder_and_threads, [1]) == {1: (str(tmp_path), 1)}


@pytest.mark.ray
def test_the_job_of_a_dead_actor_is_repeated_by_another(executor, tmp_path):
    names = ["a", "b.fragile", "c"]
    assert sorted(done(executor, die_once, [str(tmp_path / name) for name in names]).values()) == names


@pytest.mark.ray
def test_a_failing_job_raises_its_own_error(executor):
    with pytest.raises(IndexError):
        done(executor, root, [4, -1])
    assert done(executor, root, [4]) == {4: 2}


@pytest.mark.ray
def test_actors_that_always_die_end_the_run_with_the_remedy(executor):
    with pytest.raises(WorkersDied, match=rf"died {LIVES + 1} times"):
        done(executor, die, [1])


@pytest.mark.ray
def test_a_cluster_without_gpus_is_refused(cluster):
    with pytest.raises(NoCluster, match="no GPU"):
        RayExecutor(ExecutorRequest("cuda"))


@pytest.mark.ray
def test_ray_actors_share_a_task_and_one_may_die(expected, cluster, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "--executor", "ray", "--workers", "2", "--ray-address", cluster)
    kill_a_worker(process, folder, os.getpid(), b"ray::Worker")
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    assert samples(folder) == expected
