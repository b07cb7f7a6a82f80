"""The best score that one constant answer gets: the zero of retention and of significance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from qharness_tasks_pl.scoring.levenshtein import first_number

POSITIVE: dict[frozenset[Hashable], Hashable] = {
    frozenset({0, 1}): 1,
    frozenset({"0", "1"}): "1",
    frozenset({"B", "C"}): "C",
    frozenset({"Nie", "Tak"}): "Tak",
}
"""Positive class of each set of labels that a binary F1 is taken over."""

SHARES = ("acc", "acc_norm", "exact_match")
CHUNK = 256
"""Candidates compared at a time, to bound the matrix of distances."""


def best_constant_score(gold: Sequence[Any], metric: str) -> float:
    """Return the best score of a constant answer on these gold answers, as a fraction.

    Args:
        gold: One gold answer per document: a label, a text, or a list of accepted texts.
        metric: `acc`, `acc_norm`, `exact_match`, `f1`, `levenshtein`, or one of EQ-Bench. `f1` is the binary one where
            all labels are 0/1, B/C or Nie/Tak, and the macro average over classes otherwise.

    Raises:
        ValueError: There are no gold answers, or the metric is not known.
    """
    if not gold:
        raise ValueError("The best constant answer needs at least one gold answer.")
    if metric in SHARES:
        return accuracy(gold)
    if metric == "f1":
        labels = set(gold)
        positive = next((positive for binary, positive in POSITIVE.items() if labels <= binary), None)
        return macro_f1(gold) if positive is None else binary_f1(gold, positive)
    if metric == "levenshtein":
        return levenshtein(gold)
    if metric.endswith("eqbench"):
        return 0.0
    raise ValueError(f"No best constant answer is known for the metric '{metric}'.")


def accuracy(gold: Sequence[Any]) -> float:
    """Return the largest share of documents that accept one answer."""
    counts = Counter(answer for accepted in map(_accepted, gold) for answer in accepted)
    return max(counts.values()) / len(gold)


def binary_f1(gold: Sequence[Hashable], positive: Hashable) -> float:
    """Return the F1 of "always positive": 2p / (1 + p) for a share p of positives."""
    share = sum(label == positive for label in gold) / len(gold)
    return 2 * share / (1 + share)


def macro_f1(gold: Sequence[Hashable]) -> float:
    """Return the macro F1 of "always the majority class": its own F1 over the number of classes that occur."""
    counts = Counter(gold)
    return binary_f1(gold, counts.most_common(1)[0][0]) / len(counts)


def levenshtein(gold: Sequence[str | Sequence[str]]) -> float:
    """Return the largest share of documents that one of the gold answers hits.

    Candidates are the distinct gold answers; a text outside them could in principle score more.
    """
    import numpy as np
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    accepted = [sorted(_accepted(answer)) for answer in gold]
    texts = sorted({answer for answers in accepted for answer in answers})
    index = {text: i for i, text in enumerate(texts)}
    lowered = [text.strip().lower() for text in texts]
    numbers = np.array([first_number(text) for text in texts], dtype=object)
    bounds = np.array([len(text) / 2 if number is None else 0 for text, number in zip(texts, numbers, strict=True)])
    members = np.array([index[answer] for answers in accepted for answer in answers])
    starts = np.cumsum([0] + [len(answers) for answers in accepted[:-1]])
    best = 0
    for start in range(0, len(texts), CHUNK):
        distances = cdist(lowered[start : start + CHUNK], lowered, scorer=Levenshtein.distance)
        for near, number in zip(distances < bounds, numbers[start : start + CHUNK], strict=True):
            hits = near if number is None else near | (numbers == number)
            best = max(best, int(np.logical_or.reduceat(hits[members], starts).sum()))
    return best / len(gold)


def _accepted(answer: Any) -> frozenset[Any]:
    """Return the accepted answers of a document; there is at least one."""
    return frozenset(answer) if isinstance(answer, list | tuple) else frozenset({answer})
