"""Points of the dissociation plane and rows of the dumbbell plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qharness_reports.figures.dumbbell import DumbbellRow, Kept
from qharness_reports.figures.plane import PlanePoint
from qharness_reports.formats import is_missing
from qharness_reports.views.configurations import Configuration, compared
from qharness_reports.views.verdicts import meaning_of


@dataclass(frozen=True)
class RetentionPanel:
    """All data sets of one configuration, the mean last."""

    config: Configuration
    rows: tuple[DumbbellRow, ...]


def plane_points(comparison: Mapping[str, Any]) -> list[PlanePoint]:
    """Return a point for every configuration whose two retentions are known."""
    verdicts = {row["config"]: row["verdict"] for row in comparison.get("verdicts", ())}
    points = []
    for config in compared(comparison):
        summary = comparison.get("summary", {}).get(config.id) or {}
        if is_missing(summary.get("r_mc")) or is_missing(summary.get("r_gen")):
            continue
        tone = meaning_of(verdicts.get(config.id, "")).tone
        bounds = {f"{k}_{side}": summary.get(f"r_{k}_{side}") for k in ("mc", "gen") for side in ("low", "high")}
        points.append(PlanePoint(config.mark, config.label, tone, mc=summary["r_mc"], gen=summary["r_gen"], **bounds))
    return points


def retention_panels(comparison: Mapping[str, Any]) -> list[RetentionPanel]:
    """Return the dumbbell rows of every configuration with retentions, data sets in one common order."""
    panels = []
    names = {task["dataset"]: task["short"].removesuffix("_mc") for task in comparison["tasks"] if task["kind"] == "mc"}
    for config in compared(comparison):
        rows = [
            DumbbellRow(
                names.get(row["dataset"], row["dataset"]), _kept(row, "mc"), _kept(row, "gen"), bool(row["included"])
            )
            for row in comparison.get("retention", {}).get(config.id) or ()
        ]
        if not rows:
            continue
        summary = comparison.get("summary", {}).get(config.id) or {}
        mean = DumbbellRow("mean", _kept(summary, "r_mc"), _kept(summary, "r_gen"), included=True, is_mean=True)
        panels.append(RetentionPanel(config, (*rows, mean)))
    return panels


def _kept(row: Mapping[str, Any], key: str) -> Kept:
    return Kept(row.get(key), row.get(f"{key}_low"), row.get(f"{key}_high"))
