"""Several quantizations of one method, pooled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qharness_reports.views.verdicts import meaning_of

FIGURES = ("r_mc", "r_gen", "index")


@dataclass(frozen=True)
class SeedsView:
    """Quantizations that differ only in their seed; figures are estimates with intervals."""

    plugin: str
    seeds: str
    verdict: str
    tone: str
    reason: str
    figures: tuple[str, ...]


def seeds_rows(comparison: Mapping[str, Any]) -> list[SeedsView]:
    """Return a row for each method that was quantized several times."""
    return [
        SeedsView(
            row["plugin"],
            ", ".join(map(str, row["seeds"])),
            meaning_of(row["verdict"]).title,
            meaning_of(row["verdict"]).tone,
            row["reason"],
            tuple(_figure(row[name]) for name in FIGURES),
        )
        for row in comparison.get("seeds", ())
    ]


def _figure(bounds: list[float] | None) -> str:
    return "–" if bounds is None else "{:.2f} [{:.2f}, {:.2f}]".format(*bounds)
