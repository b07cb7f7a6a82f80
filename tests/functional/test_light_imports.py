"""Listing commands import nothing heavy and answer at once."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HEAVY = ("torch", "transformers", "lm_eval", "datasets", "triton")
PROBE = """
import sys
from qharness.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code or 0
print("heavy:" + ",".join(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROBE.format(heavy=HEAVY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("plugins",), ("plugins", "--json"), ("suites",), ("run", "--help")]
)
def test_no_heavy_import(arguments):
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "heavy:"


def test_show_imports_nothing_heavy(finished_run):
    done = run("show", str(finished_run))
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "heavy:"


def test_help_answers_within_half_a_second():
    command = [sys.executable, "-c", "from qharness.cli import main; main(['--help'])"]
    subprocess.run(command, capture_output=True, check=True)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.5


@pytest.mark.parametrize(
    "command", ["run", "plan", "quantize", "eval", "hessians", "show", "report", "plugins", "suites", "doctor"]
)
def test_every_help_has_examples(command):
    done = run(command, "--help")
    assert "Example" in done.stdout
    assert f"qharness {command}" in done.stdout
