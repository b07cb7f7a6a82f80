"""What served the modules of the configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qharness.results.measured import Measured
    from qharness.results.shape import KernelRow


def kernel_rows(configurations: Sequence[Measured]) -> list[KernelRow]:
    """Return what served alike modules, a row each, in the order of the configurations."""
    rows: list[KernelRow] = []
    for measured in configurations:
        name = measured.run.config_id(measured.cell)
        for row in measured.run.kernels():
            if row["config"] == name:
                rows.append({**row, "config": measured.id})  # type: ignore[typeddict-item]
    return rows


def kernel_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one line a configuration: how many weights and transforms each kernel serves, and why not one."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        noun = "weights" if row["part"] == "weight" else f"{row['part']} transforms"
        served = f"{row['kernel']} {row['op']}".strip() + (f" ({row['reason']})" if row["reason"] else "")
        counts = found.setdefault(row["config"], {})
        what = f"{noun} by {served}"
        counts[what] = counts.get(what, 0) + row["count"]
    return [
        f"{config}: " + ", ".join(f"{count} {what}" for what, count in counts.items())
        for config, counts in found.items()
    ]
