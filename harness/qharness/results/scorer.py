"""How a stored score follows from its documents, so that it can be bootstrapped.

Evaluators store an aggregated score and, for each document, a value or at least the gold and predicted label.
The scorer is the formula that reproduces the stored scores of both models from these; if none does, the score
is shown but not tested, rather than tested by another formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qharness.results.measured import Documents, Measurement
from qharness.statistics.bootstrap import Floats
from qharness.statistics.f1 import f1, f1_columns

UNREADABLE = frozenset({"", "[invalid]"})
"""Predictions that are no label; a scorer may count them as one of the labels."""

_OTHER = "none of these"
_MOST_LABELS = 20
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Scorer:
    """A score as a function of column sums.

    Attributes:
        name: `mean`, or which F1.
        columns: Columns of each document, shape (documents, columns).
        score: Score from sums of shape (k, columns), shape (k,).
    """

    name: str
    columns: Callable[[Documents], Floats]
    score: Callable[[Floats], Floats]

    def of(self, documents: Documents) -> float:
        """Score of all documents."""
        return float(self.score(self.columns(documents).sum(axis=0, keepdims=True))[0])


def scorer_for(measurements: Sequence[Measurement]) -> Scorer | None:
    """Return the formula that reproduces the stored scores of all measurements of one identity, or None."""
    loaded = [(measurement.result.value, measurement.documents) for measurement in measurements]
    if not all(len(documents) for _, documents in loaded):
        return None
    for scorer in _candidates([documents for _, documents in loaded]):
        if all(math.isclose(scorer.of(docs), value, abs_tol=_TOLERANCE) for value, docs in loaded):
            return scorer
    return None


def _candidates(documents: Sequence[Documents]) -> Iterator[Scorer]:
    if all(np.isfinite(docs.value).all() for docs in documents):
        yield Scorer("mean", _value_and_one, lambda sums: np.asarray(sums[:, 0] / sums[:, 1]))
    gold = sorted({str(label) for docs in documents for label in docs.gold})
    if len(gold) > _MOST_LABELS:
        return
    if len(gold) <= 2:
        for label in reversed(gold):
            yield _f1(f"F1 of '{label}'", (label,), lambda guess: guess)
    guesses = {str(guess) for docs in documents for guess in docs.prediction}
    labels = tuple(sorted({*gold, *guesses} - UNREADABLE))
    for fallback in (*labels, _OTHER):
        yield _f1(f"macro F1, unreadable as '{fallback}'", (*labels, _OTHER), _replacing(labels, fallback))


def _value_and_one(documents: Documents) -> Floats:
    return np.column_stack([documents.value, np.ones(len(documents))])


def _f1(name: str, labels: tuple[str, ...], clean: Callable[[NDArray[np.object_]], NDArray[np.object_]]) -> Scorer:
    def columns(documents: Documents) -> Floats:
        return f1_columns([str(x) for x in documents.gold], [str(x) for x in clean(documents.prediction)], labels)

    return Scorer(name, columns, f1)


def _replacing(labels: tuple[str, ...], fallback: str) -> Callable[[NDArray[np.object_]], NDArray[np.object_]]:
    def clean(guesses: NDArray[np.object_]) -> NDArray[np.object_]:
        return np.array([guess if guess in labels else fallback for guess in guesses], dtype=object)

    return clean
