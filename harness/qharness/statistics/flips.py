"""How many answers changed, which equal accuracies can hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Flips:
    """Changes between two models on the same documents ("Accuracy is Not All You Need", arXiv 2407.09141).

    Attributes:
        n: Number of documents.
        flips: Share that changed between right and wrong.
        to_wrong: Share that was right and became wrong.
        to_right: Share that was wrong and became right.
        changed: Share whose answer changed at all, wrong to another wrong one included.
    """

    n: int
    flips: float
    to_wrong: float
    to_right: float
    changed: float


def flips(
    baseline_right: ArrayLike,
    candidate_right: ArrayLike,
    baseline_answers: Sequence[str],
    candidate_answers: Sequence[str],
) -> Flips:
    """Count changed answers.

    Args:
        baseline_right: Right or wrong, shape (n,), 0/1.
        candidate_right: The same documents, shape (n,).
        baseline_answers: Answers as text, n of them.
        candidate_answers: Answers as text, n of them.

    Raises:
        ValueError: The lengths differ, or there are no documents.
    """
    before, after = np.asarray(baseline_right, dtype=bool), np.asarray(candidate_right, dtype=bool)
    n = len(before)
    if not n or {len(after), len(baseline_answers), len(candidate_answers)} != {n}:
        raise ValueError("Flips need the same documents, at least one, in all four arguments.")
    to_wrong, to_right = float(np.mean(before & ~after)), float(np.mean(~before & after))
    changed = sum(a != b for a, b in zip(baseline_answers, candidate_answers, strict=True)) / n
    return Flips(n, to_wrong + to_right, to_wrong, to_right, changed)
