"""A run that is killed goes on with --resume and ends with the results of an uninterrupted one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path


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
