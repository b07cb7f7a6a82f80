"""The executor of worker processes outlives its workers and starts what follows from a job before the rest."""

from __future__ import annotations

import math
import os
import sys

import pytest

from qharness.executors.base import ExecutorRequest
from qharness.executors.inline import InlineExecutor
from qharness.executors.local import LocalExecutor, devices_of
from qharness.executors.pool import LIVES, WorkersDied

FRAGILE = """
import os, pathlib

def die_once(path):
    mark = pathlib.Path(path)
    if mark.suffix == ".fragile" and not mark.exists():
        mark.touch()
        os._exit(9)
    return mark.name

def process(_):
    return os.getpid()

def die(_):
    os._exit(9)

def threads(_):
    import torch
    return torch.get_num_threads()
"""


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    (tmp_path / "fragile_jobs.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(tmp_path)
    import fragile_jobs

    yield fragile_jobs
    del sys.modules["fragile_jobs"]


@pytest.fixture
def executor():
    executor = LocalExecutor(ExecutorRequest("cpu", workers=2))
    yield executor
    executor.shutdown()


def done(executor, function, jobs) -> dict:
    """Run jobs from which nothing follows; return their results."""
    results = {}

    def settle(job, result):
        assert job not in results
        results[job] = result
        return ()

    executor.run(function, jobs, settle)
    return results


def test_every_job_is_done_once_in_other_processes(executor, fragile):
    assert done(executor, math.sqrt, [9, 4, 1]) == {9: 3, 4: 2, 1: 1}
    assert os.getpid() not in done(executor, fragile.process, range(4)).values()


def test_the_jobs_of_a_dead_worker_are_repeated(executor, fragile, tmp_path):
    names = ["a", "b.fragile", "c", "d"]
    assert list(sorted(done(executor, fragile.die_once, [str(tmp_path / name) for name in names]).values())) == names


def test_workers_that_always_die_end_the_run_with_the_remedy(executor, fragile):
    with pytest.raises(WorkersDied, match=rf"died {LIVES + 1} times.*--executor inline"):
        done(executor, fragile.die, [1])


def test_a_failing_job_raises_its_own_error(executor):
    with pytest.raises(ValueError, match="math domain"):
        done(executor, math.sqrt, [1, -1])


@pytest.mark.parametrize("kind", [InlineExecutor, LocalExecutor])
def test_what_follows_from_a_job_comes_before_what_waits(kind):
    executor = kind(ExecutorRequest("cpu", workers=1))
    order = []

    def settle(job, result):
        order.append(job)
        return [job + 0.25, job + 0.5] if job in (1, 1.5) else []

    try:
        executor.run(math.sqrt, [1, 2], settle)
    finally:
        executor.shutdown()
    assert order == [1, 1.25, 1.5, 1.75, 2.0, 2]


def test_workers_share_the_cores(fragile, monkeypatch):
    monkeypatch.setattr("qharness.executors.local.cores", lambda: 4)
    executor = LocalExecutor(ExecutorRequest("cpu", workers=2))
    try:
        assert done(executor, fragile.threads, [0]) == {0: 2}
    finally:
        executor.shutdown()


def test_one_gpu_named_gets_one_worker():
    assert devices_of("cuda:1") == ["cuda:1"]
    assert devices_of("cpu", 3) == ["cpu"] * 3
