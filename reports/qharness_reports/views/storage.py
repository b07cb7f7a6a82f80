"""Stored bits and the points of the storage figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qharness_reports.figures.storage import StoragePoint
from qharness_reports.formats import decimal, is_missing, size
from qharness_reports.views.configurations import Configuration, compared


@dataclass(frozen=True)
class ArtifactRow:
    """One artifact as the table prints it, with the numbers it is sorted by."""

    plugin: str
    nominal: str
    stored: str
    model: str
    size: str
    path: str
    values: tuple[float | None, ...]


def artifact_of(comparison: Mapping[str, Any], config: Configuration) -> Mapping[str, Any]:
    """Return the artifact that a configuration ran, or an empty mapping."""
    rows = comparison.get("artifacts", ())
    exact = (row for row in rows if config.digest and row.get("digest") == config.digest)
    return next(exact, None) or next((row for row in rows if row["plugin"] == config.plugin), {})


def artifact_rows(comparison: Mapping[str, Any]) -> list[ArtifactRow]:
    """Return all artifacts in the order of the comparison."""
    keys = ("nominal_bits", "stored_bpw", "model_bpw", "size_bytes")
    return [
        ArtifactRow(
            plugin=row["plugin"],
            nominal=decimal(row.get("nominal_bits"), 2),
            stored=decimal(row.get("stored_bpw"), 3),
            model=decimal(row.get("model_bpw"), 3),
            size=size(row.get("size_bytes")),
            path=str(row.get("path", "")),
            values=tuple(row.get(key) for key in keys),
        )
        for row in comparison.get("artifacts", ())
    ]


def storage_points(comparison: Mapping[str, Any]) -> list[StoragePoint]:
    """Return the unablated configurations whose bits and retentions are all known."""
    found = []
    for config in compared(comparison):
        summary = comparison.get("summary", {}).get(config.id) or {}
        bits = artifact_of(comparison, config).get("stored_bpw")
        mc, gen = summary.get("r_mc"), summary.get("r_gen")
        if config.is_ablated or is_missing(bits) or is_missing(mc) or is_missing(gen):
            continue
        found.append(StoragePoint(config.mark, config.label, float(bits), float(mc), float(gen)))  # type: ignore[arg-type]
    return found
