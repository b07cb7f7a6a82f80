"""Answers that are the text of an option."""

from __future__ import annotations

import string
from collections.abc import Sequence

TRAILING = string.punctuation + string.whitespace + "…„”“’‘»«–—"


def normalize(text: str) -> str:
    """Return the text in lower case, without surrounding white space and trailing punctuation."""
    return text.strip().lower().rstrip(TRAILING)


def exact_match(references: Sequence[str], predictions: Sequence[str], options: Sequence[str]) -> float:
    """Return 1.0 if the response is the gold option's text after `normalize`, else 0.0."""
    return float(normalize(predictions[0]) == normalize(references[0]))


def invalid_rate(references: Sequence[str], predictions: Sequence[str], options: Sequence[str]) -> float:
    """Return 1.0 if the response is the text of none of the options after `normalize`, else 0.0."""
    return float(normalize(predictions[0]) not in {normalize(option) for option in options})
