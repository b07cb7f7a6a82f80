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


def scorer_for(measurements: Sequence[Measurement], scale: float = 1.0) -> Scorer | None:
    """Return the formula that reproduces the stored scores of all measurements, or None.

    Args:
        measurements: Scores of one identity.
        scale: What the metric's value is divided by to be a fraction.
    """
    loaded = [(measurement.result.value, measurement.documents) for measurement in measurements]
    if not all(len(documents) for _, documents in loaded):
        return None
    for scorer in _candidates([documents for _, documents in loaded], scale):
        if all(math.isclose(scorer.of(docs), value, abs_tol=_TOLERANCE) for value, docs in loaded):
            return scorer
    return None


def _candidates(documents: Sequence[Documents], scale: float) -> Iterator[Scorer]:
    if all(np.isfinite(docs.value).all() for docs in documents):
        yield _mean(1.0)
        if scale != 1.0:
            yield _mean(scale)
    gold = sorted({str(label) for docs in documents for label in docs.gold})
    if not 1 <= len(gold) <= 20:
        return
    if len(gold) <= 2:
        for label in reversed(gold):
            yield _f1(f"F1 of '{label}'", (label,), lambda guess: guess)
    for fallback in gold:
        yield _f1(f"macro F1, other answers as '{fallback}'", tuple(gold), _replacing(tuple(gold), fallback))


def _mean(scale: float) -> Scorer:
    def columns(documents: Documents) -> Floats:
        return np.column_stack([documents.value / scale, np.ones(len(documents))])

    return Scorer("mean", columns, lambda sums: np.asarray(sums[:, 0] / sums[:, 1]))


def _f1(name: str, labels: tuple[str, ...], clean: Callable[[NDArray[np.object_]], NDArray[np.object_]]) -> Scorer:
    def columns(documents: Documents) -> Floats:
        return f1_columns([str(x) for x in documents.gold], [str(x) for x in clean(documents.prediction)], labels)

    return Scorer(name, columns, f1)


def _replacing(labels: tuple[str, ...], fallback: str) -> Callable[[NDArray[np.object_]], NDArray[np.object_]]:
    def clean(guesses: NDArray[np.object_]) -> NDArray[np.object_]:
        return np.array([guess if guess in labels else fallback for guess in guesses], dtype=object)

    return clean
