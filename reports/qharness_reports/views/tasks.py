"""Scores task by task: one matrix over all configurations, and MC beside GEN for each configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from qharness_reports.figures.whisker import draw_whisker
from qharness_reports.formats import decimal, interval, is_missing, p_value, percent, points
from qharness_reports.views.configurations import Configuration, compared, configurations

ALPHA = 0.05
SPAN = 1.0


@dataclass(frozen=True)
class CellView:
    """One score. `tone` tints it by the size of a significant loss; `marks` are (sign, explanation)."""

    score: str
    sort: float | None
    normalized: str
    delta: str
    delta_sort: float | None
    bounds: str
    picture: Markup
    p: str
    is_significant: bool
    invalid: str
    tone: str
    marks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TaskHead:
    """A task with its metric: what makes two numbers comparable."""

    name: str
    short: str
    kind: str
    metric: str
    is_official: bool
    baseline: str
    constant: str


@dataclass(frozen=True)
class MatrixRow:
    """One task under all configurations."""

    head: TaskHead
    cells: tuple[CellView | None, ...]


@dataclass(frozen=True)
class Side:
    """One task of a pair: the unquantized score and the configuration's."""

    head: TaskHead
    reference: str
    reference_sort: float | None
    cell: CellView


@dataclass(frozen=True)
class PairRow:
    """A data set: multiple choice, the leaderboard's generation, and the text-answer variant."""

    label: str
    mc: Side | None
    gen: Side | None
    text: Side | None


@dataclass(frozen=True)
class PairTable:
    """All data sets of one configuration."""

    config: Configuration
    rows: tuple[PairRow, ...]
    has_text: bool


def task_head(task: Mapping[str, Any]) -> TaskHead:
    """Return a task's identity as text."""
    metric = task["metric"] if task["filter"] in ("none", "", None) else f"{task['metric']}, {task['filter']}"
    constant, official = decimal_percent(task.get("constant")), decimal_percent(task.get("baseline"))
    return TaskHead(task["task"], task["short"], task["kind"], metric, bool(task["is_official"]), official, constant)


def decimal_percent(fraction: float | None) -> str:
    """Return a fraction in percent without the sign, one decimal."""
    return decimal(None if fraction is None else fraction * 100)


def cell_view(cell: Mapping[str, Any] | None, kind: str) -> CellView | None:
    """Return a cell as the tables print it; None if the configuration has no such cell."""
    if not cell:
        return None
    if cell.get("failed") or is_missing(cell.get("value")):
        lost = ("failed", "This task could not be measured; see Failures.")
        return CellView("–", None, "", "", None, "", Markup(""), "", False, "", "failed", (lost,))
    delta, low, high, p = (cell.get(key) for key in ("delta", "low", "high", "p_holm"))
    significant = not is_missing(p) and p < ALPHA  # type: ignore[operator]
    known = delta is not None and not any(is_missing(v) for v in (delta, low, high))
    invalid = cell.get("invalid_rate")
    return CellView(
        score=decimal_percent(cell["value"]),
        sort=cell["value"],
        normalized=decimal(cell.get("normalized")),
        delta="" if is_missing(delta) else points(delta),
        delta_sort=delta,
        bounds=interval(low, high, digits=1),
        picture=draw_whisker(delta, low, high, SPAN, kind) if known else Markup(""),  # type: ignore[arg-type]
        p="" if is_missing(p) else p_value(p),
        is_significant=significant,
        invalid="" if is_missing(invalid) else percent(invalid),
        tone=_tone(delta, significant),
        marks=_marks(cell, significant),
    )


def _tone(delta: float | None, significant: bool) -> str:
    if delta is None or is_missing(delta) or not significant:
        return "none"
    if delta > 0:
        return "gain"
    return "loss-3" if delta < -0.4 else "loss-2" if delta < -0.15 else "loss-1"


def _marks(cell: Mapping[str, Any], significant: bool) -> tuple[tuple[str, str], ...]:
    marks = []
    if significant:
        marks.append(("*", f"Differs from the baseline: p = {p_value(cell['p_holm'])} after Holm."))
    elif not is_missing(cell.get("mde")) and not is_missing(cell.get("delta")):
        marks.append(("≈", f"No difference shown; one below {decimal(cell['mde'] * 100)} points could not be seen."))
    if cell.get("no_evidence"):
        marks.append(("∅", "No evidence of ability: the score does not beat the best constant answer."))
    return tuple(marks)


def matrix(comparison: Mapping[str, Any]) -> list[MatrixRow]:
    """Return every task under every configuration, in the order of the suite."""
    ids = [config.id for config in configurations(comparison)]
    return [
        MatrixRow(task_head(task), tuple(cell_view(task["cells"].get(i), task["kind"]) for i in ids))
        for task in comparison["tasks"]
    ]


def pair_tables(comparison: Mapping[str, Any]) -> list[PairTable]:
    """Return one table for each configuration: multiple choice beside generation, data set by data set."""
    reference = next((config.id for config in configurations(comparison) if config.is_baseline), None)
    groups = pair_tasks(comparison["tasks"])
    tables = []
    for config in compared(comparison):
        rows = []
        for label, *parts in groups:
            sides = [_side(task, config.id, reference) if task else None for task in parts]
            if any(sides):
                rows.append(PairRow(label, *sides))
        tables.append(PairTable(config, tuple(rows), any(row.text for row in rows)))
    return tables


Group = tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None, Mapping[str, Any] | None]


def pair_tasks(tasks: Sequence[Mapping[str, Any]]) -> list[Group]:
    """Return (label, MC, leaderboard GEN, text-answer GEN) of tasks on the same documents; others stand alone."""
    groups: list[Group] = []
    used: set[int] = set()
    for index, task in enumerate(tasks):
        if task["kind"] != "mc":
            continue
        used.add(index)
        letter, text = None, None
        for other_index, other in enumerate(tasks):
            if other_index in used or other["kind"] != "gen" or not _are_siblings(task, other):
                continue
            same_standing = other["is_official"] == task["is_official"]
            if letter is None and same_standing and other["task"] == task.get("sibling", other["task"]):
                letter = other
            elif text is None and not other["is_official"] and task["is_official"] and other["task"] != task.get("sibling"):
                text = other
            else:
                continue
            used.add(other_index)
        groups.append((task["short"].removesuffix("_mc"), task, letter, text))
    for index, task in enumerate(tasks):
        if index not in used:
            position = next((i for i, g in enumerate(groups) if (g[1] or g[2] or {}).get("dataset") == task["dataset"]), None)
            row: Group = (task["short"].removesuffix("_g"), None, task, None)
            if position is None:
                groups.append(row)
            else:
                last = max(i for i, g in enumerate(groups) if any(t and t["dataset"] == task["dataset"] for t in g[1:]))
                groups.insert(last + 1, row)
    return groups


def _are_siblings(mc: Mapping[str, Any], gen: Mapping[str, Any]) -> bool:
    return bool(gen.get("sibling") == mc["task"] or (mc.get("sibling") and mc["sibling"] == gen["task"]))


def _side(task: Mapping[str, Any], config: str, reference: str | None) -> Side | None:
    cell = cell_view(task["cells"].get(config), task["kind"])
    if cell is None:
        return None
    base = (task["cells"].get(reference) or {}).get("value") if reference else None
    return Side(task_head(task), decimal_percent(base), base, cell)
