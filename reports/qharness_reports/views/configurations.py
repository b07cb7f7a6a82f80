"""The configurations of a comparison, in the order of all sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Configuration:
    """One evaluated configuration; `mark` is its number in figures (the baseline is 0)."""

    id: str
    mark: str
    label: str
    detail: str
    plugin: str
    digest: str
    is_baseline: bool
    is_ablated: bool


def configurations(comparison: Mapping[str, Any]) -> list[Configuration]:
    """Return the baseline first, then the others as the comparison orders them."""
    rows = sorted(comparison["configurations"], key=lambda row: not row["is_baseline"])
    return [
        Configuration(
            id=row["id"],
            mark=str(number),
            label=row["label"],
            detail=_detail(row),
            plugin=row["plugin"],
            digest=str(row.get("artifact_digest") or ""),
            is_baseline=bool(row["is_baseline"]),
            is_ablated=bool(row.get("ablation")),
        )
        for number, row in enumerate(rows)
    ]


def compared(comparison: Mapping[str, Any]) -> list[Configuration]:
    """Return every configuration but the baseline."""
    return [config for config in configurations(comparison) if not config.is_baseline]


def baseline_id(comparison: Mapping[str, Any]) -> str | None:
    """Return the id of the first baseline, or None if there is none."""
    return next((config.id for config in configurations(comparison) if config.is_baseline), None)


def _detail(row: Mapping[str, Any]) -> str:
    parts = [str(row[key]) for key in ("engine", "dtype") if row.get(key)]
    if row.get("kernels"):
        parts.append(f"{row['kernels']} kernels")
    if row.get("kv_bits"):
        parts.append(f"KV cache {row['kv_bits']} bit")
    if row.get("ablation"):
        parts.append("without " + ", ".join(row["ablation"]))
    return " · ".join(parts)
