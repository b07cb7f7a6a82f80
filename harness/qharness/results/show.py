"""A run as plain data, for `qharness show --json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qharness.results.directory import RunDirectory

RESULT_FIELDS = (
    "plugin", "model", "seed", "ablation", "engine", "kernels", "dtype", "kv_bits", "calibration", "evaluator",
    "suite", "task", "kind", "metric", "filter", "num_fewshot", "n", "value", "stderr", "baseline", "normalized",
    "invalid_rate", "data",
)  # fmt: skip
"""Fields that scripts may rely on; rows also carry those of `RESULT_EXTRAS`."""

RESULT_EXTRAS = ("config", "artifact_digest", "constant", "answer_token", "kv_prefill", "variant")


def show(run: RunDirectory) -> dict[str, Any]:
    """Return everything that a run found, as plain data that JSON can hold.

    Returns:
        `run` (content of run.json and `finished`), `results` (fractions; `normalized` in percent),
        `verdicts`, `artifacts`, `kernels` (what served the modules), `failures`, and of a finished run `seeds` (several
        quantizations together) and `rules` (of the verdicts). Verdicts of an ablation matrix carry the names of their
        `rows`.
    """
    comparison = run.comparison() or {}
    return {
        "run": {**run.info, "path": str(run.path), "finished": run.is_finished},
        "results": [_result(row) for row in run.result_rows()],
        "verdicts": [_verdict(row, run.rows()) for row in run.verdicts()],
        "artifacts": run.artifacts(),
        "kernels": run.kernels(),
        "failures": [{key: row[key] for key in ("config", "evaluator", "task", "reason")} for row in run.failures()],
        "seeds": comparison.get("seeds", []),
        "rules": comparison.get("rules", []),
    }


def _result(row: dict[str, Any]) -> dict[str, Any]:
    ordered = {name: row[name] for name in RESULT_FIELDS}
    extra = {name: row[name] for name in RESULT_EXTRAS}
    return {**ordered, "ablation": list(row["ablation"]), **extra}


VERDICT_DEFAULTS = {"config": "", "variant": "", "seed": 0, "calibration": "", "kv_prefill": ""}
"""What a verdict of an earlier version does not have."""
VERDICT_FIELDS = ("config", "plugin", "variant", "seed", "calibration", "ablation", "engine", "kv_bits", "kv_prefill")


def _verdict(row: dict[str, Any], rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    row = {**VERDICT_DEFAULTS, **row}
    own = [r for r in rows if r["config"] == row["config"]]
    return {
        **{name: row[name] for name in VERDICT_FIELDS},
        "rows": [{"row": r["row"], "purpose": r["purpose"]} for r in own],
        "verdict": row["verdict"],
        "evidence": row["evidence"],
    }
