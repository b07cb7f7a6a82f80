"""Answers that are the letter of an option, and F1 over their classes."""

from __future__ import annotations

from collections.abc import Sequence

INVALID = "[invalid]"
"""What lm-eval's regex filter returns when it finds no letter."""

Pair = tuple[int, int]
"""Class of the gold answer, class of the prediction."""


def invalid_rate(references: Sequence[str], predictions: Sequence[str]) -> float:
    """Return 1.0 if no letter was found in the response, else 0.0."""
    return float(predictions[0] == INVALID)


def f1(references: Sequence[str], predictions: Sequence[str], letters: str) -> Pair:
    """Return the classes of one document, for `binary_f1` or `macro_f1`.

    Args:
        references: The gold letter.
        predictions: The letter found, or `[invalid]`.
        letters: Letters of the classes in order; a prediction outside them counts as the first class.
    """
    gold, predicted = references[0], predictions[0]
    return letters.index(gold), max(0, letters.find(predicted))


def binary_f1(pairs: Sequence[Pair]) -> float:
    """Return the F1 of class 1 over (gold, prediction) pairs; 0.0 where it occurs in neither."""
    from sklearn.metrics import f1_score

    golds, predictions = zip(*pairs, strict=True)
    return float(f1_score(golds, predictions, zero_division=0.0))


def macro_f1(pairs: Sequence[Pair]) -> float:
    """Return the mean F1 over the classes that occur in gold answers or predictions."""
    from sklearn.metrics import f1_score

    golds, predictions = zip(*pairs, strict=True)
    return float(f1_score(golds, predictions, average="macro", zero_division=0.0))
