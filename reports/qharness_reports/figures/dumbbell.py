"""Retention of one configuration data set by data set: multiple choice and generation on one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from qharness_reports.figures.svg import Scale, circle, diamond, element, figure, line, text, title
from qharness_reports.formats import interval, is_missing, percent

WIDTH, LEFT, ROW = 400.0, 104.0, 24.0


@dataclass(frozen=True)
class Kept:
    """A retention with its interval, as fractions of the baseline."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class DumbbellRow:
    """One data set; excluded ones are drawn pale: the baseline itself is too close to a constant answer."""

    label: str
    mc: Kept
    gen: Kept
    included: bool
    is_mean: bool = False


def axis_end(rows: Sequence[DumbbellRow]) -> float:
    """Return the end of an axis that shows all rows, between 1.1 and 1.5 times the baseline."""
    highs = [k.value for row in rows for k in (row.mc, row.gen) if k.value is not None and not is_missing(k.value)]
    return min(1.5, max([1.1, *(h + 0.05 for h in highs)]))


def draw_dumbbell(rows: Sequence[DumbbellRow], label: str, end: float) -> Markup:
    """Draw one line for each data set; `end` makes the axes of several pictures equal."""
    height = ROW * len(rows) + 30
    x = Scale(0, end, LEFT, WIDTH - 10)
    bottom = height - 24
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(line(x(tick), 2, x(tick), bottom, "reference" if tick == 1 else "grid"))
        parts.append(text(x(tick), height - 8, percent(tick), "tick", "middle"))
    for index, row in enumerate(rows):
        parts.append(_draw_row(row, x, ROW * index + ROW / 2 + 2))
    return figure(WIDTH, height, f"Retention by data set: {label}", parts)


def _draw_row(row: DumbbellRow, x: Scale, y: float) -> Markup:
    parts: list[Markup] = [title(_tip(row)), element("rect", x=0, y=y - ROW / 2, width=WIDTH, height=ROW, class_="hit")]
    parts.append(text(LEFT - 10, y + 4, row.label, "label strong" if row.is_mean else "label", "end"))
    mc, gen = row.mc.value, row.gen.value
    if mc is not None and gen is not None and not is_missing(mc) and not is_missing(gen):
        parts.append(line(x(mc), y, x(gen), y, "bond"))
    for kept, name, shift in ((row.mc, "mc", -3.0), (row.gen, "gen", 3.0)):
        if kept.value is None or is_missing(kept.value):
            continue
        if kept.low is not None and kept.high is not None:
            parts.append(line(x(kept.low), y + shift, x(kept.high), y + shift, f"whisker {name}"))
        shape = circle if name == "mc" else diamond
        parts.append(shape(x(kept.value), y, f"dot {name}"))
    return element("g", *parts, class_="row" if row.included else "row excluded")


def _tip(row: DumbbellRow) -> str:
    said = (
        f"{row.label}: MC {percent(row.mc.value)} {interval(row.mc.low, row.mc.high)}, "
        f"GEN {percent(row.gen.value)} {interval(row.gen.low, row.gen.high)}"
    )
    return said if row.included else f"{said}; not counted: the baseline does not beat the best constant answer here"
