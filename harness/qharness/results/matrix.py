"""The ablation matrix as text: one line a row, and whether multiple choice survived anywhere without generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

SPLIT = ("dissociated", "cache_path_fault")
"""Verdicts that say that multiple choice is kept and writing is not."""
BASELINE, NOT_MEASURED = "baseline", "not measured"
"""What stands in place of a verdict."""
UNDECIDED = ("inconclusive", NOT_MEASURED)


class MatrixLine(NamedTuple):
    """One row of the matrix."""

    row: str
    purpose: str
    config: str
    verdict: str
    reason: str
    summary: Mapping[str, Any]


def matrix_lines(comparison: Mapping[str, Any]) -> list[MatrixLine]:
    """Return the rows of a comparison's ablation matrix with verdict, its reason and summary; empty for another run."""
    verdicts = {row["config"]: row["verdict"] for row in comparison.get("verdicts", ())}
    reasons = {row["config"]: row["evidence"].get("reason", "") for row in comparison.get("verdicts", ())}
    summaries = comparison.get("summary", {})
    return [
        MatrixLine(
            row["row"],
            row["purpose"],
            row["config"],
            verdicts.get(row["config"], BASELINE if row["config"] in summaries else NOT_MEASURED),
            reasons.get(row["config"], ""),
            summaries.get(row["config"]) or {},
        )
        for row in comparison.get("matrix", ())
    ]


def matrix_finding(lines: list[MatrixLine]) -> str:
    """Return one sentence on where multiple choice survived while generation did not."""
    split = [line.row for line in lines if line.verdict in SPLIT]
    unsure = [line.row for line in lines if line.verdict in UNDECIDED]
    if split:
        found = f"Multiple choice survives while generation does not in {_names(split)}."
    elif all(line.verdict in (*UNDECIDED, BASELINE) for line in lines):
        found = "Whether multiple choice survives anywhere while generation does not is open."
    else:
        where = "In no row and at no dose" + (" that could be decided" if unsure else "")
        found = f"{where} does multiple choice survive while generation does not."
    return f"{found} Undecided: {_names(unsure)}." if unsure else found


def _names(rows: list[str]) -> str:
    return ("row " if len(rows) == 1 else "rows ") + ", ".join(rows)


def bounds(summary: Mapping[str, Any], name: str) -> str:
    """Return a figure of a summary with its interval, or an empty text."""
    if summary.get(name) is None:
        return ""
    return f"{summary[name]:.2f} [{summary[f'{name}_low']:.2f}, {summary[f'{name}_high']:.2f}]"
