"""A change with its interval, small enough for a table cell."""

from __future__ import annotations

from markupsafe import Markup

from qharness_reports.figures.svg import Scale, circle, figure, line
from qharness_reports.formats import points

WIDTH, HEIGHT = 90.0, 14.0


def draw_whisker(delta: float, low: float, high: float, span: float, kind: str) -> Markup:
    """Draw delta and [low, high] (fractions) on an axis from -span to span/4; the upright line is no change."""
    x = Scale(-span, span / 4, 4, WIDTH - 4)
    parts = [line(x(0), 0, x(0), HEIGHT, "reference")]
    if high > low:
        parts.append(line(x(low), HEIGHT / 2, x(high), HEIGHT / 2, f"whisker {kind}"))
    parts.append(circle(x(delta), HEIGHT / 2, f"dot {kind}", 3.0))
    return figure(WIDTH, HEIGHT, f"change {points(delta)} points", parts)
