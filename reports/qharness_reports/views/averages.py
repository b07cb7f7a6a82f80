"""Normalized averages with the number of missing tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qharness_reports.figures.bars import BarRow
from qharness_reports.formats import decimal, is_missing
from qharness_reports.views.configurations import Configuration, configurations


@dataclass(frozen=True)
class AverageRow:
    """One configuration's averages; a missing task counts as 0, as on the leaderboard."""

    config: Configuration
    mc: str
    gen: str
    all: str
    missing_mc: int
    missing_gen: int
    values: tuple[float | None, float | None, float | None]


def average_rows(comparison: Mapping[str, Any]) -> list[AverageRow]:
    """Return the averages of every configuration that has some."""
    rows = []
    for config in configurations(comparison):
        row = comparison.get("averages", {}).get(config.id)
        if row:
            values = (row.get("mc"), row.get("gen"), row.get("all"))
            mc, gen, both = (decimal(value) for value in values)
            missing_mc, missing_gen = (int(row.get(f"missing_{kind}") or 0) for kind in ("mc", "gen"))
            rows.append(AverageRow(config, mc, gen, both, missing_mc, missing_gen, values))
    return rows


def bar_rows(comparison: Mapping[str, Any]) -> list[BarRow]:
    """Return the same averages for the figure."""
    return [
        BarRow(f"{row.config.mark} {row.config.label}", *(None if is_missing(v) else v for v in row.values[:2]))
        for row in average_rows(comparison)
    ]
