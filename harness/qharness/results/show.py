"""A run as plain data, for `qharness show --json`."""

from __future__ import annotations

from typing import Any

from qharness.results.directory import RunDirectory

RESULT_FIELDS = (
    "plugin", "model", "seed", "ablation", "engine", "kernels", "dtype", "kv_bits", "calibration", "evaluator",
    "suite", "task", "kind", "metric", "filter", "num_fewshot", "n", "value", "stderr", "baseline", "normalized",
    "invalid_rate", "data",
)  # fmt: skip
"""Fields that scripts may rely on; rows also carry `config`, `artifact_digest` and `constant`."""


def show(run: RunDirectory) -> dict[str, Any]:
    """Return everything that a run found, as plain data that JSON can hold.

    Returns:
        `run` (content of run.json and `finished`), `results` (fractions; `normalized` in percent),
        `verdicts`, `artifacts` and `failures`.
    """
    return {
        "run": {**run.info, "path": str(run.path), "finished": run.is_finished},
        "results": [_result(row) for row in run.result_rows()],
        "verdicts": [_verdict(row) for row in run.verdicts()],
        "artifacts": run.artifacts(),
        "failures": [{key: row[key] for key in ("config", "evaluator", "task", "reason")} for row in run.failures()],
    }


def _result(row: dict[str, Any]) -> dict[str, Any]:
    ordered = {name: row[name] for name in RESULT_FIELDS}
    extra = {name: row[name] for name in ("config", "artifact_digest", "constant")}
    return {**ordered, "ablation": list(row["ablation"]), **extra}


def _verdict(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("plugin", "ablation", "engine", "kv_bits", "verdict", "evidence")}
