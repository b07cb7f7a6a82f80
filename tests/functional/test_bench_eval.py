"""`qharness bench eval` on the embedded model: every field, equal scores."""

from __future__ import annotations

import json
import math
import subprocess
import sys

RATIOS = ("mc_ratio", "gen_ratio", "bound_ratio")


def qharness(*arguments, cwd):
    code = "from qharness.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


def test_report_has_all_fields_and_equal_scores(tmp_path) -> None:
    tasks = {"polish_klej_ner_multiple_choice": "mc", "polish_polqa_open_book": "gen"}
    arguments = ("--tasks", ",".join(tasks), "--limit", "2", "--device", "cpu", "--engines", "hf,vulcan", "--json")
    done = qharness("bench", "eval", *arguments, "-o", "report.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert "vulcan" in report["left_out"]
    for name, kind in tasks.items():
        data = report["tasks"][name]
        assert data["scores_equal"] is True and data["agreement"]["prompts"] == 1.0
        assert data["kind"] == kind and data[f"{kind}_ratio"] > 0
        assert 0 < data["least_tokens"] <= data["forwarded_tokens"]
        rate = report["rate"]["tokens_per_second"]
        assert math.isclose(data["bound_ratio"], data["ours"]["seconds"] * rate / data["least_tokens"])
    assert report["overall"]["scores_equal"] is True
    assert all(report["overall"][name] > 0 for name in RATIOS)
    for found in report["stock"]["batch"].values():
        assert str(found["batch_size"]) in found["searched"]


def test_unknown_task_is_a_usage_error(tmp_path) -> None:
    done = qharness("bench", "eval", "--tasks", "polish_nothing", cwd=tmp_path)
    assert done.returncode == 2
    assert "polish_nothing" in done.stderr and "Traceback" not in done.stderr
