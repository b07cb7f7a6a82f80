"""A run that is killed, or whose worker is killed, ends with the results of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq


def shown(run: Path) -> dict:
    code = "from qharness.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "show", str(run), "--json"], capture_output=True, check=True)
    return json.loads(done.stdout)


def test_a_killed_run_resumes_to_the_same_results(finished_run, tmp_path):
    arguments = ("run", "--plugin", "rtn", "--suite", "polish22-mc", "--limit", "2", "--evaluators", "mc")
    code = "from qharness.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("runs/2*/samples/fp16/mc/*/part-*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    run = next((tmp_path / "runs").glob("2*"))
    assert not (run / "done").exists()
    stored = len(list(run.glob("samples/**/*.parquet")))
    resume = ["run", "--resume", str(run)]
    done = subprocess.run(
        [sys.executable, "-c", code, *resume], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("already done") >= stored
    assert (run / "done").exists()
    one, other = shown(finished_run), shown(run)
    assert one["results"] == other["results"]
    assert [v["verdict"] for v in one["verdicts"]] == [v["verdict"] for v in other["verdicts"]]
    assert (run / "report.html").stat().st_size > 10_000


PASSING = {"run_id", "latency"}
"""Columns of a sample that differ between equal runs."""


def samples(run: Path) -> dict[str, list[dict]]:
    found = {}
    for path in sorted(run.glob("samples/*/*/*/part-*.parquet")):
        table = pq.read_table(path, partitioning=None)
        kept = [name for name in table.column_names if name not in PASSING]
        found[str(path.relative_to(run))] = table.select(kept).to_pylist()
    return found


def workers_of(parent: int) -> list[int]:
    """Return the worker processes: children that run multiprocessing's spawned main."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and b"spawn_main" in command:
            found.append(int(status.parent.name))
    return found


def test_a_killed_worker_changes_nothing(finished_run, tmp_path):
    arguments = ("run", "--plugin", "rtn", "--suite", "polish22-mc", "--limit", "2", "--evaluators", "mc")
    code = "from qharness.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments, "--executor", "local"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("runs/2*/samples/fp16/mc/*/part-*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    run = next((tmp_path / "runs").glob("2*"))
    assert samples(run) == samples(finished_run)
    assert shown(run)["results"] == shown(finished_run)["results"]


def test_parts_of_an_evaluator_are_finished_one_by_one(tmp_path):
    texts = {"a.txt": "Ala ma kota. " * 400, "b.txt": "Pies goni kota po podwórku. " * 400}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    code = "from qharness.cli import main; main()"
    sources = [option for name in texts for option in ("--perplexity", f"file:{name}")]
    arguments = ["eval", "demo", "--suite", "polish22-mc", "--limit", "1", "--evaluators", "perplexity", *sources]
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, check=True)
    run = next((tmp_path / "runs").glob("2*"))
    parts = sorted(run.glob("samples/**/*.parquet"))
    assert len(parts) == 2
    parts[1].unlink()
    kept = parts[0].stat().st_mtime_ns
    resume = [sys.executable, "-c", code, "run", "--resume", str(run)]
    done = subprocess.run(resume, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.count("already done") == 1
    assert sorted(run.glob("samples/**/*.parquet")) == parts and parts[0].stat().st_mtime_ns == kept
