"""Methods ranked among those that store about as many bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qharness_reports.formats import decimal, interval, is_missing, percent
from qharness_reports.views.configurations import Configuration, compared
from qharness_reports.views.storage import artifact_of

MATCH = 0.1
"""Stored bits per quantized weight by which the members of a class may differ."""


@dataclass(frozen=True)
class RankRow:
    """One configuration in its class.

    Attributes:
        config: The configuration.
        place: Its place by `mean`, 1 for the best.
        stored: Stored bits per quantized weight.
        mc, gen: What is kept of multiple choice and of generation, with the interval.
        mean: Mean of both.
        beaten_by: Labels of configurations, in any class, that store no more and keep more of both.
        values: Numbers that the table is sorted by: place, stored bits, both retentions, mean.
    """

    config: Configuration
    place: int
    stored: str
    mc: str
    gen: str
    mean: str
    beaten_by: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class BitsClass:
    """Configurations whose stored bits differ by no more than `MATCH`, best first."""

    title: str
    rows: tuple[RankRow, ...]


@dataclass(frozen=True)
class _Point:
    config: Configuration
    bits: float
    mc: float
    gen: float
    summary: Mapping[str, Any]

    @property
    def mean(self) -> float:
        return (self.mc + self.gen) / 2

    def beats(self, other: _Point) -> bool:
        return self.bits <= other.bits and self.mc > other.mc and self.gen > other.gen


def bits_classes(comparison: Mapping[str, Any]) -> list[BitsClass]:
    """Return the classes from the fewest stored bits to the most; ablated configurations are left out.

    A class begins at the fewest bits that no class holds yet, so that no two members differ by more than `MATCH`.
    """
    points = sorted(_points(comparison), key=lambda point: point.bits)
    classes: list[list[_Point]] = []
    for point in points:
        if classes and point.bits - classes[-1][0].bits <= MATCH:
            classes[-1].append(point)
        else:
            classes.append([point])
    return [_class(members, points) for members in classes]


def _points(comparison: Mapping[str, Any]) -> list[_Point]:
    found = []
    for config in compared(comparison):
        summary = comparison.get("summary", {}).get(config.id) or {}
        numbers = (artifact_of(comparison, config).get("stored_bpw"), summary.get("r_mc"), summary.get("r_gen"))
        if not config.is_ablated and not any(is_missing(number) for number in numbers):
            found.append(_Point(config, *(float(number) for number in numbers), summary))  # type: ignore[arg-type]
    return found


def _class(members: Sequence[_Point], everyone: Sequence[_Point]) -> BitsClass:
    ordered = sorted(members, key=lambda point: -point.mean)
    low, high = decimal(min(p.bits for p in members), 2), decimal(max(p.bits for p in members), 2)
    title = f"{low} stored bits per weight" if low == high else f"{low} to {high} stored bits per weight"
    return BitsClass(title, tuple(_row(place, point, everyone) for place, point in enumerate(ordered, 1)))


def _row(place: int, point: _Point, everyone: Sequence[_Point]) -> RankRow:
    def kept(name: str, value: float) -> str:
        bounds = interval(point.summary.get(f"{name}_low"), point.summary.get(f"{name}_high"))
        return f"{percent(value)} {bounds}".rstrip()

    return RankRow(
        config=point.config,
        place=place,
        stored=decimal(point.bits, 3),
        mc=kept("r_mc", point.mc),
        gen=kept("r_gen", point.gen),
        mean=percent(point.mean),
        beaten_by=tuple(other.config.label for other in everyone if other.beats(point)),
        values=(place, point.bits, point.mc, point.gen, point.mean),
    )
