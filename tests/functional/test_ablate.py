"""`qharness ablate` from the command line: rows that share artifacts, verdicts by row."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = "from qharness.cli import main; main()"


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_rows_are_stamped_and_share_artifacts(tmp_path):
    settings = ("--set", "spinquant.iterations=2", "--calibration-samples", "8", "--calibration-length", "128")
    scope = ("--suite", "polish22-mc", "--limit", "1", "--num-fewshot", "0", "--evaluators", "mc")
    done = run("ablate", "--plugin", "spinquant", *scope, *settings, "--rows", "F,G,I4,dose", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    rows = {row["row"]: verdict for verdict in shown["verdicts"] for row in verdict["rows"]}
    assert {"F", "G", "I4", "dose r4@layers=0", "dose r4@channels=25%"} <= rows.keys()
    assert rows["F"]["ablation"] == [] and rows["G"]["ablation"] == ["r4"]
    assert (rows["I4"]["ablation"], rows["I4"]["kv_bits"], rows["I4"]["kv_prefill"]) == (["r3"], 4, "invisible")
    assert len({a["path"] for a in shown["artifacts"]}) == 2
    stamped = {tuple(row["ablation"]) for row in shown["results"]}
    assert ("r4@channels=25%",) in stamped and ("r4@layers=4,5",) in stamped


def test_usage_errors_name_the_remedy(tmp_path):
    scope = ("--suite", "polish22-mc")
    two = run("ablate", "--plugin", "rtn", "--plugin", "spinquant", *scope, cwd=tmp_path)
    assert two.returncode == 2 and "one method" in two.stderr
    other = run("ablate", "--plugin", "rtn", *scope, "--rows", "Z", cwd=tmp_path)
    assert other.returncode == 2 and "A to M" in other.stderr
    own = run("ablate", "--plugin", "rtn", *scope, "--kv-bits", "4", cwd=tmp_path)
    assert own.returncode == 2 and "--rows" in own.stderr
    assert not (tmp_path / "runs").exists()
