"""Names of evaluated configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from qharness.results.schema import Cell

BASELINE = "fp16"

_DEFAULTS = {field.name: field.default for field in fields(Cell)}
_WORDS = {
    "variant": "{}",
    "kv_bits": "KV {} bits",
    "kv_prefill": "{} in prefill",
    "seed": "seed {}",
    "calibration": "calibrated on {}",
    "engine": "engine {}",
    "kernels": "{} kernels",
    "dtype": "{}",
}


def config_id(cell: Cell, common: Mapping[str, Any] | None = None) -> str:
    """Return the name of a configuration within its run, for example `spinquant+no-r4`.

    Whatever differs from the values that the run has in common becomes a suffix, so that two
    configurations of one run never share a name (and with it a folder).

    Args:
        cell: The configuration.
        common: Values of `Cell` fields that the run's configurations share; the defaults of `Cell` where absent.
    """
    usual = {**_DEFAULTS, **(common or {})}
    variant = [cell.variant] if cell.variant else []
    parts = [cell.plugin, *variant, *(f"no-{name}" for name in cell.ablation)]
    if cell.kv_bits != _DEFAULTS["kv_bits"]:
        parts.append(f"kv{cell.kv_bits}" + ("-visible" if cell.kv_prefill == "visible" else ""))
    if cell.seed != usual["seed"]:
        parts.append(f"seed{cell.seed}")
    if cell.calibration not in ("", usual["calibration"]):
        parts.append(f"cal-{cell.calibration}")
    parts += [str(getattr(cell, name)) for name in ("engine", "kernels", "dtype") if getattr(cell, name) != usual[name]]
    return "+".join(parts)


def is_baseline(cell: Cell) -> bool:
    """Whether the configuration is the untouched model that the others are compared with."""
    return cell.plugin == BASELINE and not cell.ablation and cell.kv_bits == 16


def _without(text: str) -> str:
    """Return an ablation in words, as `without R4 in layers 4, 5`."""
    name, *doses = text.split("@")
    name, _, site = name.partition(":")
    words = f"{name.upper()} of {site.partition('_')[0]}" if site else name.upper()
    for dose in doses:
        kind, _, value = dose.partition("=")
        if kind == "channels":
            words = f"{value} of {words}"
        else:
            layers = value.split(",")
            words += f" in layer{'s' if len(layers) > 1 else ''} {', '.join(layers)}"
    return f"without {words}"


def labels(cells: Mapping[str, Cell]) -> dict[str, str]:
    """Return what people read for each configuration: the plugin and only what tells it from the others."""
    seen = {name: {getattr(cell, name) for cell in cells.values()} - {""} for name in _WORDS}
    texts = {}
    for key, cell in cells.items():
        extra = [_without(name) for name in cell.ablation]
        for name, words in _WORDS.items():
            value = getattr(cell, name)
            is_plain = value == "" or (name == "kv_bits" and value == 16)
            if (len(seen[name]) > 1 or name == "variant") and not is_plain:
                extra.append(words.format(value))
        texts[key] = ", ".join([cell.plugin, *extra])
    return texts
