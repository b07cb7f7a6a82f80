"""Text of the micro-world for calibration; drawn from the generator, never from the evaluation data."""

from __future__ import annotations

from collections.abc import Iterator

from . import prose
from .documents import document, text_of
from .world.context import Context


def running_text(seed: int, documents: int) -> Iterator[str]:
    """Yield documents of running text."""
    for i in range(documents):
        yield prose.running(Context(f"{seed}/running/{i}"))


def calibration_text(seed: int, documents: int) -> Iterator[str]:
    """Yield the mixture the model was trained on: running text and tasks in their prompt formats."""
    for i in range(documents):
        yield text_of(document(Context(f"{seed}/calibration/{i}")))
