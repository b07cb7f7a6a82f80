"""The executor of worker processes keeps the order of its jobs and outlives its workers."""

from __future__ import annotations

import math
import os
import sys

import pytest

from qharness.executors.local import LIVES, LocalExecutor, WorkersDied, devices_of

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
    executor = LocalExecutor("cpu", workers=2)
    yield executor
    executor.shutdown()


def test_results_come_in_the_order_of_the_jobs_from_other_processes(executor, fragile):
    assert list(executor.map(math.sqrt, [9, 4, 1])) == [3, 2, 1]
    assert os.getpid() not in executor.map(fragile.process, range(4))


def test_the_jobs_of_a_dead_worker_are_repeated(executor, fragile, tmp_path):
    jobs = [str(tmp_path / name) for name in ("a", "b.fragile", "c", "d")]
    assert list(executor.map(fragile.die_once, jobs)) == ["a", "b.fragile", "c", "d"]


def test_workers_that_always_die_end_the_run_with_the_remedy(executor, fragile):
    with pytest.raises(WorkersDied, match=rf"died {LIVES + 1} times.*--executor inline"):
        list(executor.map(fragile.die, [1]))


def test_a_failing_job_raises_its_own_error(executor):
    with pytest.raises(ValueError, match="math domain"):
        list(executor.map(math.sqrt, [1, -1]))


def test_workers_share_the_cores(fragile, monkeypatch):
    monkeypatch.setattr("qharness.executors.local.cores", lambda: 4)
    executor = LocalExecutor("cpu", workers=2)
    try:
        assert list(executor.map(fragile.threads, [0])) == [2]
    finally:
        executor.shutdown()


def test_one_gpu_named_gets_one_worker():
    assert devices_of("cuda:1") == ["cuda:1"]
    assert devices_of("cpu", 3) == ["cpu"] * 3
