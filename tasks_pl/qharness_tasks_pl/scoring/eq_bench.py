"""EQ-Bench version 2.4 in Polish: how close four rated emotions are to the reference (arXiv 2312.06281)."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

RATING = re.compile(r"(\w+(?: \w+)*):\s+(\d+)")
REVISION = "Zmienione oceny:"
EMOTIONS = 4

Ratings = dict[str, float]
Scores = dict[str, float]


def reference_ratings(reference: str | Mapping[str, Any]) -> Ratings:
    """Return the reference ratings by emotion, from a mapping or the text of a Python dict."""
    fields = ast.literal_eval(reference) if isinstance(reference, str) else reference
    return {fields[f"emotion{i}"]: float(fields[f"emotion{i}_score"]) for i in range(1, EMOTIONS + 1)}


def ratings(text: str, limit: int | None = None) -> Ratings:
    """Return the `name: number` pairs of a text, or the first `limit`; a repeated name keeps its last number."""
    return {name: float(value) for name, value in RATING.findall(text)[:limit]}


def parse(response: str) -> tuple[Ratings, Ratings]:
    """Return the ratings before and after the revision; both are empty if the response revises nothing.

    Every pair before the revision counts, so a critique that contains one spoils the first pass.
    """
    first, found, revised = response.partition(REVISION)
    return (ratings(first), ratings(revised, EMOTIONS)) if found else ({}, {})


def closeness(reference: Ratings, rated: Ratings) -> Scores:
    """Return the score of one set of ratings, at most 100, and whether it could be read (0 or 100).

    Ratings of other emotions than the reference's score 0. The score of random ratings is 0 on average; it can be
    negative.
    """
    if len(rated) != EMOTIONS or rated.keys() != reference.keys():
        return {"eqbench": 0, "percent_parseable": 0}
    tally = sum(_penalty(abs(value - reference[name])) for name, value in rated.items())
    return {"eqbench": (10 - 0.7477 * tally) * 10, "percent_parseable": 100}


def _penalty(difference: float) -> float:
    if difference == 0:
        return 0.0
    if difference <= 5:
        return 6.5 / (1 + math.exp(-1.2 * (difference - 4)))
    return difference


def score(doc: Mapping[str, Any], results: Sequence[str]) -> Scores:
    """Score first and revised ratings of one response, and their average (`process_results` of lm-eval)."""
    first, revised = parse(results[0])
    scores = _prefixed("first", closeness(reference_ratings(doc["reference_answer"]), first))
    scores |= _prefixed("revised", closeness(reference_ratings(doc["reference_answer_fullscale"]), revised))
    return scores | {"average_eqbench": (scores["first_eqbench"] + scores["revised_eqbench"]) / 2}


def score_first(doc: Mapping[str, Any], results: Sequence[str]) -> Scores:
    """Score the first four ratings of one response (`process_results` of lm-eval)."""
    return _prefixed("first", closeness(reference_ratings(doc["reference_answer"]), ratings(results[0], EMOTIONS)))


def _prefixed(prefix: str, scores: Scores) -> Scores:
    return {f"{prefix}_{name}": value for name, value in scores.items()}


def first_turn_target(doc: Mapping[str, Any]) -> str:
    """Return the reference as a model would write it, for examples."""
    reference = doc["reference_answer"]
    fields = ast.literal_eval(reference) if isinstance(reference, str) else reference
    lines = [f"{fields[f'emotion{i}']}: {fields[f'emotion{i}_score']}\n" for i in range(1, EMOTIONS + 1)]
    return "".join(lines) + "\n"
