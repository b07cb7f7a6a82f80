"""Texts side by side: free generation and answers to tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qharness_reports.formats import percent, plain
from qharness_reports.views.configurations import Configuration, baseline_id, configurations

RUN_WORDS = 4
ANSWERS_PER_TASK = 4
LONGEST_TEXT = 4000


@dataclass(frozen=True)
class Piece:
    """A stretch of text; `is_repeat` if it repeats four words said before."""

    text: str
    is_repeat: bool


@dataclass(frozen=True)
class Column:
    """One configuration's text."""

    config: Configuration
    pieces: tuple[Piece, ...]
    share: str


@dataclass(frozen=True)
class FreeRow:
    """One prompt answered by every configuration."""

    register: str
    prompt: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class MetricRow:
    """One metric of free generation over the configurations."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """One configuration's answer to one document."""

    config: Configuration
    text: str
    prediction: str
    is_right: bool | None
    is_flip: bool


@dataclass(frozen=True)
class AnswerRow:
    """One document of one task."""

    doc_id: str
    gold: str
    flips: int
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class AnswerTask:
    """The documents of one task that changed most, and how many more the comparison holds."""

    task: str
    rows: tuple[AnswerRow, ...]
    left_out: int


def mark_repeats(text: str, words: int = RUN_WORDS) -> tuple[Piece, ...]:
    """Split a text into stretches that are new and stretches that repeat a run of words said before."""
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    said: set[tuple[str, ...]] = set()
    repeated = [False] * len(spans)
    for start in range(len(spans) - words + 1):
        run = tuple(text[a:b].casefold() for a, b in spans[start : start + words])
        if run in said:
            repeated[start : start + words] = [True] * words
        said.add(run)
    pieces: list[Piece] = []
    begin = 0
    for index, is_repeat in enumerate(repeated):
        is_last = index + 1 == len(repeated)
        if is_last or repeated[index + 1] != is_repeat:
            end = len(text) if is_last else spans[index + 1][0]
            pieces.append(Piece(text[begin:end], is_repeat))
            begin = end
    return tuple(pieces) or (Piece(text, False),)


def _cut(text: str) -> str:
    text = text.strip()
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " …"


def _column(config: Configuration, text: str) -> Column:
    cut = _cut(text)
    pieces = mark_repeats(cut)
    repeats = sum(len(piece.text) for piece in pieces if piece.is_repeat)
    return Column(config, pieces, percent(repeats / max(1, len(cut))))


def free_rows(comparison: Mapping[str, Any]) -> list[FreeRow]:
    """Return every prompt once, with the text of each configuration that answered it."""
    prompts: dict[str, tuple[str, str]] = {}
    texts: dict[tuple[str, str], str] = {}
    for config_id, free in comparison.get("free", {}).items():
        for example in (free or {}).get("examples", ()):
            prompts.setdefault(str(example["id"]), (example.get("register", ""), example["prompt"]))
            texts[config_id, str(example["id"])] = example["text"]
    shown = configurations(comparison)
    return [
        FreeRow(register, prompt, tuple(_column(c, texts[c.id, key]) for c in shown if (c.id, key) in texts))
        for key, (register, prompt) in prompts.items()
    ]


def free_metrics(comparison: Mapping[str, Any]) -> tuple[list[Configuration], list[MetricRow]]:
    """Return the configurations with free generation and each metric over them."""
    free = comparison.get("free", {})
    shown = [config for config in configurations(comparison) if (free.get(config.id) or {}).get("metrics")]
    names = list(dict.fromkeys(name for config in shown for name in free[config.id]["metrics"]))
    rows = [MetricRow(n.replace("_", " "), tuple(plain(free[c.id]["metrics"].get(n)) for c in shown)) for n in names]
    return shown, rows


def answer_tasks(comparison: Mapping[str, Any], per_task: int = ANSWERS_PER_TASK) -> list[AnswerTask]:
    """Return the documents of each task, those whose score changed under most configurations first."""
    grouped: dict[str, list[AnswerRow]] = {}
    for item in comparison.get("generations", ()):
        grouped.setdefault(item["task"], []).append(_answer_row(item, comparison))
    return [
        AnswerTask(task, tuple(sorted(rows, key=lambda row: -row.flips)[:per_task]), max(0, len(rows) - per_task))
        for task, rows in grouped.items()
    ]


def _answer_row(item: Mapping[str, Any], comparison: Mapping[str, Any]) -> AnswerRow:
    responses = item["responses"]
    before = (responses.get(baseline_id(comparison)) or {}).get("value")
    answers: Sequence[Answer] = [
        Answer(
            config=config,
            text=_cut(str(response.get("text", ""))),
            prediction=str(response.get("prediction", "")),
            is_right=None if response.get("value") is None else response["value"] > 0.5,
            is_flip=None not in (before, response.get("value")) and response["value"] != before,
        )
        for config in configurations(comparison)
        if (response := responses.get(config.id))
    ]
    return AnswerRow(str(item["doc_id"]), str(item["gold"]), sum(a.is_flip for a in answers), tuple(answers))
