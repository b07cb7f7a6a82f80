"""The ablation matrix as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qharness.results.matrix import bounds, matrix_finding, matrix_lines
from qharness_reports.formats import decimal, percent
from qharness_reports.views.verdicts import meaning_of


@dataclass(frozen=True)
class AblationRow:
    """One row of the matrix as the report prints it."""

    row: str
    purpose: str
    config: str
    verdict: str
    tone: str
    reason: str
    figures: tuple[str, ...]


def ablation_rows(comparison: Mapping[str, Any]) -> list[AblationRow]:
    """Return the rows of the ablation matrix, in its order."""
    rows = []
    for line in matrix_lines(comparison):
        known = line.verdict not in ("baseline", "not measured")
        meaning = meaning_of(line.verdict if known else "")
        figures = (
            *(bounds(line.summary, name) for name in ("r_mc", "r_gen", "index")),
            percent(line.summary.get("decode_agreement")),
            percent(line.summary.get("degenerate_rate")),
            decimal(line.summary.get("kl"), 2),
        )
        title = meaning.title if known else line.verdict
        rows.append(AblationRow(line.row, line.purpose, line.config, title, meaning.tone, line.reason, figures))
    return rows


def ablation_finding(comparison: Mapping[str, Any]) -> str:
    """Return one sentence on where multiple choice survived while generation did not."""
    return matrix_finding(matrix_lines(comparison))
