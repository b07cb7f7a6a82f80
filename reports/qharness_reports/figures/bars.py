"""Normalized averages of all configurations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from qharness_reports.figures.svg import Scale, element, figure, line, text, ticks, title
from qharness_reports.formats import decimal

WIDTH, ROW, LETTER = 420.0, 40.0, 6.8


@dataclass(frozen=True)
class BarRow:
    """One configuration's averages in percent; None if nothing was measured."""

    label: str
    mc: float | None
    gen: float | None


def draw_bars(rows: Sequence[BarRow]) -> Markup:
    """Draw two bars for each configuration from zero; a score below the baseline points left."""
    values = [v for row in rows for v in (row.mc, row.gen) if v is not None]
    low, high = min([0.0, *values]), max([10.0, *values])
    left = min(190.0, 24 + LETTER * max((len(row.label) for row in rows), default=0))
    x = Scale(low, high, left, WIDTH - 40)
    height = ROW * len(rows) + 24
    parts = []
    for tick in ticks(low, high, 5):
        parts.append(line(x(tick), 2, x(tick), height - 20, "reference" if tick == 0 else "grid"))
        parts.append(text(x(tick), height - 5, decimal(tick, 0), "tick", "middle"))
    for index, row in enumerate(rows):
        y = ROW * index + 5
        parts.append(text(left - 10, y + 19, row.label, "label", "end"))
        for name, value, top in (("mc", row.mc, y + 1), ("gen", row.gen, y + 16)):
            if value is None:
                parts.append(text(x(0) + 5, top + 11, "not measured", "note"))
                continue
            bar = element(
                "rect",
                x=min(x(0), x(value)),
                y=top,
                width=abs(x(value) - x(0)),
                height=13.0,
                rx=2,
                class_=f"bar {name}",
            )
            said = title(f"{row.label}: {name.upper()} {decimal(value)}")
            number = text(max(x(value), x(0)) + 5, top + 11, decimal(value), "value")
            parts.append(element("g", said, bar, number))
    return figure(WIDTH, height, "Normalized averages of multiple choice and generation", parts)
