"""Scores task by task: one matrix over all configurations, and MC beside GEN for each configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from qharness_reports.figures.whisker import draw_whisker
from qharness_reports.formats import decimal, interval, is_missing, p_value, percent, points
from qharness_reports.views.configurations import Configuration, baseline_id, compared, configurations

ALPHA = 0.05
SPANS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class CellView:
    """One score. `tone` tints it by the size of a significant loss; `marks` are (sign, explanation)."""

    score: str
    sort: float | None
    delta: str
    delta_sort: float | None
    bounds: str
    picture: Markup
    p: str
    is_significant: bool
    invalid: str
    answer_token: str
    flips: str
    tone: str
    marks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TaskHead:
    """A task with its metric: what makes two numbers comparable."""

    name: str
    short: str
    kind: str
    evaluator: str
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
    span: str
    family: str


def task_head(task: Mapping[str, Any]) -> TaskHead:
    """Return a task's identity as text."""
    metric = task["metric"] if task["filter"] in ("none", "", None) else f"{task['metric']}, {task['filter']}"
    constant, official = decimal_percent(task.get("constant")), decimal_percent(task.get("baseline"))
    return TaskHead(
        task["task"],
        task["short"],
        task["kind"],
        task["evaluator"],
        metric,
        bool(task["is_official"]),
        official,
        constant,
    )


def decimal_percent(fraction: float | None) -> str:
    """Return a fraction in percent without the sign, one decimal."""
    return decimal(None if fraction is None else fraction * 100)


def cell_view(cell: Mapping[str, Any] | None, kind: str, span: float = 1.0) -> CellView | None:
    """Return a cell as the tables print it, its picture from -span to span / 4; None if there is no such cell."""
    if not cell:
        return None
    if cell.get("failed") or is_missing(cell.get("value")):
        lost = ("not measured", str(cell.get("failed") or "This task was not measured."))
        return CellView("–", None, "", None, "", Markup(""), "", False, "", "", "", "failed", (lost,))
    delta, low, high, p = (cell.get(key) for key in ("delta", "low", "high", "p_holm"))
    significant = not is_missing(p) and p < ALPHA  # type: ignore[operator]
    known = delta is not None and not any(is_missing(v) for v in (delta, low, high))
    invalid, place = cell.get("invalid_rate"), cell.get("answer_token")
    return CellView(
        score=decimal_percent(cell["value"]),
        sort=cell["value"],
        delta="" if is_missing(delta) else points(delta),
        delta_sort=delta,
        bounds=interval(low, high),
        picture=draw_whisker(delta, low, high, span, kind) if known else Markup(""),  # type: ignore[arg-type]
        p="" if is_missing(p) else p_value(p),
        is_significant=significant,
        invalid="" if is_missing(invalid) else percent(invalid),
        answer_token="" if is_missing(place) else f"{place:g}",
        flips="" if is_missing(cell.get("flips")) else percent(cell["flips"]),
        tone=_tone(delta, significant),
        marks=_marks(cell, significant),
    )


def _tone(delta: float | None, significant: bool) -> str:
    if delta is None or is_missing(delta) or not significant:
        return "same"
    if delta > 0:
        return "gain"
    return "loss-3" if delta < -0.4 else "loss-2" if delta < -0.15 else "loss-1"


def _marks(cell: Mapping[str, Any], significant: bool) -> tuple[tuple[str, str], ...]:
    marks = []
    if significant:
        marks.append(("*", f"Differs from the baseline: p = {p_value(cell['p_holm'])} after Holm."))
    elif not is_missing(cell.get("mde")) and not is_missing(cell.get("delta")):
        marks.append(("≈", f"No difference shown; one below {decimal_percent(cell['mde'])} points would be missed."))
    if cell.get("no_evidence"):
        marks.append(("∅", "No evidence of ability: the score does not beat the best constant answer."))
    return tuple(marks)


def matrix(comparison: Mapping[str, Any], rows: str = "tasks") -> list[MatrixRow]:
    """Return every task under every configuration; `rows` is `tasks`, or `other_metrics` for further metrics."""
    ids = [config.id for config in configurations(comparison)]
    return [
        MatrixRow(task_head(task), tuple(cell_view(task["cells"].get(i), task["kind"]) for i in ids))
        for task in comparison.get(rows, ())
    ]


def pair_tables(comparison: Mapping[str, Any]) -> list[PairTable]:
    """Return one table for each configuration: multiple choice beside generation, data set by data set."""
    reference = baseline_id(comparison)
    groups = pair_tasks(comparison["tasks"])
    tables = []
    for config in compared(comparison):
        span = _span(comparison["tasks"], config.id)
        rows = []
        for group in groups:
            sides = [_side(task, config.id, reference, span) for task in (group.mc, group.gen, group.text)]
            if any(sides):
                rows.append(PairRow(group.label, *sides))
        has_text = any(row.text for row in rows)
        said = f"−{span * 100:.0f} … +{span * 25:.0f}"
        family = str(comparison.get("families", {}).get(config.id, "")).removeprefix(f"{config.label}: ")
        tables.append(PairTable(config, tuple(rows), has_text, said, family))
    return tables


def _span(tasks: Sequence[Mapping[str, Any]], config: str) -> float:
    lows = [(task["cells"].get(config) or {}).get("low") for task in tasks]
    lowest = min([0.0, *(low for low in lows if low is not None and not is_missing(low))])
    return next((span for span in SPANS if span >= -lowest), 1.0)


@dataclass(frozen=True)
class Group:
    """Tasks on the same documents: multiple choice, the leaderboard's generation, the text-answer variant."""

    label: str
    mc: Mapping[str, Any] | None = None
    gen: Mapping[str, Any] | None = None
    text: Mapping[str, Any] | None = None


def pair_tasks(tasks: Sequence[Mapping[str, Any]]) -> list[Group]:
    """Return the tasks grouped by their documents, in the order of the suite; tasks without a sibling stand alone."""
    groups = []
    for task in tasks:
        siblings = [other for other in tasks if other["kind"] == "gen" and _are_siblings(task, other)]
        if task["kind"] == "mc":
            gen = next((other for other in siblings if other["is_official"]), None)
            text = next((other for other in siblings if not other["is_official"]), None)
            groups.append(Group(task["short"].removesuffix("_mc"), task, gen, text))
        elif not any(_are_siblings(other, task) for other in tasks if other["kind"] == "mc"):
            groups.append(Group(task["short"].removesuffix("_g"), gen=task))
    return groups


def _are_siblings(mc: Mapping[str, Any], gen: Mapping[str, Any]) -> bool:
    """Whether two tasks share their documents; further rows of a task pair only within their own protocol."""
    named = gen.get("sibling") == mc["task"] or (mc.get("sibling") and mc["sibling"] == gen["task"])
    same = all(mc[key] == gen[key] for key in ("num_fewshot", "data", "template"))
    return bool(named and mc["is_main"] == gen["is_main"] and (mc["is_main"] or same))


def _side(task: Mapping[str, Any] | None, config: str, reference: str | None, span: float) -> Side | None:
    cell = cell_view(task["cells"].get(config), task["kind"], span) if task else None
    if task is None or cell is None:
        return None
    base = (task["cells"].get(reference) or {}).get("value") if reference else None
    return Side(task_head(task), decimal_percent(base), base, cell)
