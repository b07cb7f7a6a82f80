"""What is kept against what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from qharness_reports.figures.svg import Scale, circle, diamond, element, figure, line, text, ticks, title
from qharness_reports.formats import decimal, percent

WIDTH, HEIGHT, LEFT, BOTTOM = 420.0, 300.0, 44.0, 40.0


@dataclass(frozen=True)
class StoragePoint:
    """One artifact: stored bits per quantized weight and fractions of the baseline that it keeps."""

    mark: str
    label: str
    bits: float
    mc: float
    gen: float


def draw_storage(points: Sequence[StoragePoint]) -> Markup:
    """Draw both retentions of every artifact above its stored bits per weight."""
    bits = [p.bits for p in points]
    pad = max(0.1, (max(bits) - min(bits)) * 0.12)
    x = Scale(min(bits) - pad, max(bits) + pad, LEFT, WIDTH - 10)
    y = Scale(0, max([1.05, *(v for p in points for v in (p.mc, p.gen))]), HEIGHT - BOTTOM, 22)
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(line(x.start, y(tick), x.end, y(tick), "reference" if tick == 1 else "grid"))
        parts.append(text(LEFT - 6, y(tick) + 4, percent(tick), "tick", "end"))
    digits = 2 if x.high - x.low < 0.5 else 1
    for tick in ticks(x.low, x.high):
        parts.append(text(x(tick), HEIGHT - BOTTOM + 16, decimal(tick, digits), "tick", "middle"))
    parts.append(
        text((LEFT + WIDTH) / 2, HEIGHT - 6, "stored bits per quantized weight, everything counted", "axis", "middle")
    )
    for point in points:
        at = x(point.bits)
        tip = f"{point.label}: {decimal(point.bits, 2)} bits, MC {percent(point.mc)}, GEN {percent(point.gen)}"
        parts.append(
            element(
                "g",
                title(tip),
                line(at, y(point.mc), at, y(point.gen), "bond"),
                circle(at, y(point.mc), "dot mc"),
                diamond(at, y(point.gen), "dot gen"),
                text(at, min(y(point.mc), y(point.gen)) - 9, point.mark, "mark", "middle"),
            )
        )
    return figure(WIDTH, HEIGHT, "Retention against stored bits per weight", parts)
