"""Which references are published QTIP checkpoints; imports nothing heavy."""

from __future__ import annotations

import json
from pathlib import Path


def claims(reference: str) -> bool:
    """Return whether a reference is a folder whose config.json has `quip_params` of QTIP."""
    try:
        config = json.loads((Path(reference).expanduser() / "config.json").read_text(encoding="utf-8"))
        return bool(config["quip_params"]["codebook"] == "bitshift")
    except (OSError, ValueError, KeyError, TypeError):
        return False
