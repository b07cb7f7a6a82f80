"""Which references are public QuIP# checkpoints; imports nothing heavy."""

from __future__ import annotations

import json
from pathlib import Path


def claims(reference: str) -> bool:
    """Return whether a reference is a folder whose config.json has `quip_params` of QuIP#."""
    try:
        config = json.loads((Path(reference).expanduser() / "config.json").read_text(encoding="utf-8"))
        return str(config["quip_params"]["codebook"]).startswith("E8P12")
    except (OSError, ValueError, KeyError, TypeError):
        return False
