"""What earlier artifacts tell about a method's speed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Earlier:
    """Seconds that a method took for each weight that it quantized, as a mean over artifacts."""

    seconds: float


def earlier(folder: Path, plugin: str, is_cpu: bool) -> Earlier | None:
    """Return what the artifacts in a folder tell about a plugin, or None if there are none.

    Args:
        folder: Folder of artifacts, each with its manifest.
        plugin: Quantizer.
        is_cpu: Whether those that were made on a CPU count, or those made on a GPU.
    """
    seconds = weights = 0.0
    for path in sorted(folder.glob("*/manifest.json")):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if manifest["plugin"] == plugin and (manifest["peak_memory"] is None) == is_cpu:
                seconds += sum(manifest["seconds"].values())
                weights += manifest["bits"]["quantized_weights"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return Earlier(seconds / weights) if weights else None
