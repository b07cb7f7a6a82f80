"""F1 scores as functions of counts, so that they can be bootstrapped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qharness.statistics.bootstrap import Floats


def f1_columns(gold: Sequence[str], prediction: Sequence[str], labels: Sequence[str]) -> Floats:
    """Return true positives, false positives and false negatives of each label for each document.

    Args:
        gold: Gold labels, one a document.
        prediction: Predicted labels; one that is not among `labels` is a false negative of the gold label only.
        labels: Labels to count.

    Returns:
        Shape (documents, 3 * labels): tp, fp and fn of the first label, then of the next.
    """
    truth = np.asarray(gold)[:, None] == np.asarray(labels)
    guess = np.asarray(prediction)[:, None] == np.asarray(labels)
    counts = np.stack([truth & guess, ~truth & guess, truth & ~guess], axis=2)
    return counts.reshape(len(gold), -1).astype(np.float64)


def f1(sums: Floats) -> Floats:
    """Return the F1 from sums of `f1_columns`: of the label if there is one, else the unweighted mean.

    Labels that occur neither in the gold nor in the predicted labels of a draw do not count, as in
    scikit-learn's `f1_score` with `average="macro"`; a binary F1 without any positive is 0.

    Args:
        sums: Shape (k, 3 * labels).

    Returns:
        Shape (k,).
    """
    counts = sums.reshape(len(sums), -1, 3)
    doubled = 2 * counts[:, :, 0]
    total = doubled + counts[:, :, 1] + counts[:, :, 2]
    occurs = total > 0
    scores = np.divide(doubled, total, out=np.zeros_like(total), where=occurs)
    return np.asarray(scores.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1))
