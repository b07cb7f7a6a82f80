"""Names of evaluated configurations."""

from __future__ import annotations

from dataclasses import fields

from qharness.results.schema import Cell

BASELINE = "fp16"


def config_id(cell: Cell) -> str:
    """Return the name of a configuration within its run, for example `spinquant+no-r4`.

    Whatever differs from the defaults of `Cell` becomes a suffix, so that two configurations of
    one run never share a name (and with it a folder).
    """
    default = {field.name: field.default for field in fields(Cell)}
    parts = [cell.plugin, *(f"no-{name}" for name in cell.ablation)]
    if cell.kv_bits != default["kv_bits"]:
        parts.append(f"kv{cell.kv_bits}")
    if cell.seed != default["seed"]:
        parts.append(f"seed{cell.seed}")
    if cell.calibration:
        parts.append(f"cal-{cell.calibration}")
    parts += [str(getattr(cell, name)) for name in ("engine", "kernels", "dtype") if getattr(cell, name) != default[name]]
    return "+".join(parts)


def is_baseline(cell: Cell) -> bool:
    """Whether the configuration is the untouched model that the others are compared with."""
    return cell.plugin == BASELINE and not cell.ablation and cell.kv_bits == 16


def labels(cells: dict[str, Cell]) -> dict[str, str]:
    """Return what people read for each configuration: the plugin and only what tells it from the others."""
    varying = {
        name
        for name in ("kv_bits", "seed", "calibration", "engine", "kernels", "dtype")
        if len({getattr(cell, name) for cell in cells.values()}) > 1
    }
    words = {"kv_bits": "KV {} bits", "seed": "seed {}", "calibration": "calibrated on {}"}
    texts = {}
    for key, cell in cells.items():
        extra = [f"without {name.upper()}" for name in cell.ablation]
        extra += [
            words.get(name, "{}").format(value)
            for name in ("kv_bits", "seed", "calibration", "engine", "kernels", "dtype")
            if name in varying and (value := getattr(cell, name)) not in ("", 16 if name == "kv_bits" else None)
        ]
        texts[key] = ", ".join([cell.plugin, *extra])
    return texts
