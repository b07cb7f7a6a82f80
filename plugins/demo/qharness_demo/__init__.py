"""The embedded model and the embedded Polish micro-world data of qharness."""

from __future__ import annotations

from pathlib import Path

MODEL_DIR = Path(__file__).parent / "model"
DATA_DIR = Path(__file__).parent / "data"

__all__ = ["DATA_DIR", "MODEL_DIR"]
