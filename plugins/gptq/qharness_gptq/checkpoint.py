"""The configuration of a GPTQ checkpoint. Needs no torch: the loader's claim reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qharness.errors import CorruptArtifact, UnsupportedArchitecture

CONFIG = "config.json"
OWN_CONFIG = "quantize_config.json"
METHODS = ("gptq", "gptq_v2")
WIDTHS = (2, 3, 4, 8)


@dataclass(frozen=True)
class CheckpointConfig:
    """What a checkpoint says about itself.

    Attributes:
        bits: Bits per weight.
        group_size: Columns per group; -1 for all.
        form: `gptq` or `gptq_v2`.
        desc_act: Whether columns were sorted before they were cut into groups.
        sym: Whether all zeros are the middle level.
    """

    bits: int
    group_size: int
    form: str
    desc_act: bool
    sym: bool

    def to_json(self, meta: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration as GPTQModel and transformers read it."""
        return {
            "quant_method": "gptq",
            "checkpoint_format": self.form,
            "bits": self.bits,
            "group_size": self.group_size,
            "desc_act": self.desc_act,
            "sym": self.sym,
            "lm_head": False,
            "pack_dtype": "int32",
            "meta": meta,
        }


def raw_config(folder: Path) -> dict[str, Any] | None:
    """Return the quantization configuration of a folder, from config.json or quantize_config.json; None without."""
    for name, key in ((CONFIG, "quantization_config"), (OWN_CONFIG, "")):
        try:
            data = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        found = data.get(key) if key and isinstance(data, dict) else data
        if isinstance(found, dict) and found.get("quant_method", found.get("method", "gptq")) in METHODS:
            return found
    return None


def claims(reference: str) -> bool:
    """Return whether a reference is a folder with a GPTQ checkpoint."""
    folder = Path(reference).expanduser()
    return (folder / CONFIG).is_file() and raw_config(folder) is not None


def read_config(folder: Path) -> CheckpointConfig:
    """Read the configuration of a checkpoint.

    Raises:
        CorruptArtifact: A number is missing or makes no sense.
        UnsupportedArchitecture: The checkpoint uses a variant of the format that this loader does not know.
    """
    raw = raw_config(folder) or {}
    try:
        bits, group = int(raw["bits"]), int(raw["group_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtifact(f"{folder} does not say its bits and group_size; download it again.") from error
    default = "gptq_v2" if raw.get("quant_method") == "gptq_v2" else "gptq"
    form = str(raw.get("checkpoint_format", raw.get("format", default)))
    if form not in METHODS or bits not in WIDTHS or raw.get("pack_dtype", "int32") != "int32" or raw.get("dynamic"):
        raise UnsupportedArchitecture(
            f"{folder} is a GPTQ checkpoint of a kind that cannot be read (format {form}, {bits} bits, "
            f"{raw.get('pack_dtype', 'int32')} words, {'dynamic' if raw.get('dynamic') else 'uniform'} configuration)."
        )
    return CheckpointConfig(bits, group, form, bool(raw.get("desc_act", False)), bool(raw.get("sym", True)))
