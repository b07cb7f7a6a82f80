"""The dissociation plane: what is kept of multiple choice against what is kept of generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from qharness_reports.figures.svg import Scale, circle, element, figure, line, text, title
from qharness_reports.formats import interval, percent

SIDE, LEFT, TOP, BOTTOM = 420.0, 60.0, 14.0, 40.0
OFFSETS = ((10, -7), (9, 4), (9, 15), (-9, 4), (-9, -7), (-9, 15), (0, -11), (0, 19), (22, -12), (-22, -12), (22, 22))


@dataclass(frozen=True)
class PlanePoint:
    """One configuration; fractions of the baseline with the bounds of their intervals (None if unknown)."""

    mark: str
    label: str
    tone: str
    mc: float
    mc_low: float | None
    mc_high: float | None
    gen: float
    gen_low: float | None
    gen_high: float | None


def draw_plane(points: Sequence[PlanePoint]) -> Markup:
    """Draw every configuration with the cross of its intervals; below the diagonal, writing suffered more."""
    top = min(1.6, max([1.1, *(v + 0.02 for p in points for v in (p.mc_high or p.mc, p.gen_high or p.gen))]))
    x = Scale(0, top, LEFT, SIDE - 8)
    y = Scale(0, top, SIDE - BOTTOM, TOP)
    parts = [_region(x, y, top)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts += [line(x(tick), y(0), x(tick), y(top), "grid"), line(x(0), y(tick), x(top), y(tick), "grid")]
        parts += [
            text(x(tick), y(0) + 16, percent(tick), "tick", "middle"),
            text(x(0) - 6, y(tick) + 4, percent(tick), "tick", "end"),
        ]
    upright = f"translate(11 {(y(0) + y(top)) / 2:.1f}) rotate(-90)"
    parts += [
        line(x(0), y(0), x(top), y(top), "diagonal"),
        text((x(0) + x(top)) / 2, SIDE - 6, "kept of multiple choice", "axis", "middle"),
        element("text", "kept of generation", class_="axis", text_anchor="middle", transform=upright),
        text(x(top) - 8, y(0) - 10, "ranks, but does not write", "note", "end"),
        text(x(0) + 8, y(top) + 16, "writes, but does not rank", "note"),
    ]  # fmt: skip
    for point in points:
        parts.append(_cross(point, x, y))
    taken: list[tuple[float, float]] = [(x(p.mc), y(p.gen)) for p in points]
    for point in points:
        place = _free_place((x(point.mc), y(point.gen)), taken)
        taken.append(place)
        parts.append(text(place[0], place[1], point.mark, "mark", "middle"))
    return figure(SIDE, SIDE, "Retention of multiple choice against retention of generation", parts)


def _region(x: Scale, y: Scale, top: float) -> Markup:
    corners = f"{x(0):.1f},{y(0):.1f} {x(top):.1f},{y(top):.1f} {x(top):.1f},{y(0):.1f}"
    return element("polygon", points=corners, class_="region")


def _cross(point: PlanePoint, x: Scale, y: Scale) -> Markup:
    parts = []
    if point.mc_low is not None and point.mc_high is not None:
        parts.append(line(x(point.mc_low), y(point.gen), x(point.mc_high), y(point.gen), "whisker"))
    if point.gen_low is not None and point.gen_high is not None:
        parts.append(line(x(point.mc), y(point.gen_low), x(point.mc), y(point.gen_high), "whisker"))
    tip = (
        f"{point.label}: MC {percent(point.mc)} {interval(point.mc_low, point.mc_high)}, "
        f"GEN {percent(point.gen)} {interval(point.gen_low, point.gen_high)}"
    )
    return element("g", title(tip), *parts, circle(x(point.mc), y(point.gen), f"dot tone-{point.tone}", 5.5))


def _free_place(at: tuple[float, float], taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the first offset whose label stays clear of the marks and labels before it, or the least crowded."""

    def room(place: tuple[float, float]) -> float:
        center = (place[0], place[1] - 4)
        others = [t for t in taken if t != at]
        return min((max(abs(center[0] - a), abs(center[1] - b)) for a, b in others), default=99.0)

    places = [(at[0] + dx * 1.3, at[1] + dy) for dx, dy in OFFSETS]
    inside = [p for p in places if LEFT + 6 < p[0] < SIDE - 8 and TOP < p[1] < SIDE - BOTTOM - 2] or places
    return next((p for p in inside if room(p) > 13), max(inside, key=room))
