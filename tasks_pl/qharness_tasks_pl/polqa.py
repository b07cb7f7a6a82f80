"""Documents of the three PolQA tasks, from rows of question-passage pairs.

Rows repeat: the leaderboard keeps the first one of each (passage, question), or of each question for closed book.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Hashable
from typing import Any

from datasets import Dataset

Row = dict[str, Any]


def reranking(docs: Dataset) -> Dataset:
    """Return one document per (passage, question), relevant or not."""
    return _first_of_each(docs, key=_pair, relevant_only=False)


def open_book(docs: Dataset) -> Dataset:
    """Return one document per (passage, question) whose passage answers the question."""
    return _first_of_each(docs, key=_pair, relevant_only=True)


def closed_book(docs: Dataset) -> Dataset:
    """Return one document per question, from rows whose passage answers it."""
    return _first_of_each(docs, key=lambda row: row["question"], relevant_only=True)


def _pair(row: Row) -> Hashable:
    return row["passage_text"], row["question"]


def _first_of_each(docs: Dataset, key: Callable[[Row], Hashable], relevant_only: bool) -> Dataset:
    kept: dict[Hashable, Row] = {}
    for row in docs:
        relevant = _truth(row["relevant"])
        if relevant or not relevant_only:
            kept.setdefault(key(row), row | {"relevant": relevant})
    columns = ("question", "passage_text", "answers", "relevant")
    rows = [{name: row[name] for name in columns} for row in kept.values()]
    return Dataset.from_list([row | {"answers": _answers(row["answers"])} for row in rows])


def _truth(value: object) -> int:
    """Return 0 or 1; CSV files hold `True` or `1` as text."""
    return int(str(value).strip().lower() in {"1", "true"})


def _answers(value: str | list[str]) -> list[str]:
    """Return the answers; the official files hold the text of a Python list."""
    return [str(answer) for answer in (ast.literal_eval(value) if isinstance(value, str) else value)]
