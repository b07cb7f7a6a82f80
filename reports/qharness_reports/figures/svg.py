"""Elements of inline SVG. Attributes and text are escaped; colours come from the style sheet's classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """Return one element. A trailing `_` is dropped from attribute names, other `_` become `-`; None is left out."""
    pairs = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{pairs}>") + Markup("").join(children) + Markup(f"</{tag}>")


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def title(text: str) -> Markup:
    """Return a tooltip."""
    return element("title", text)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def text(x: float, y: float, content: str, class_: str = "label", anchor: str = "start") -> Markup:
    """Return a text whose baseline is at y."""
    return element("text", content, x=x, y=y, class_=class_, text_anchor=anchor)


def circle(x: float, y: float, class_: str, radius: float = 4.5) -> Markup:
    """Return the mark of multiple choice."""
    return element("circle", cx=x, cy=y, r=radius, class_=class_)


def diamond(x: float, y: float, class_: str, radius: float = 5.5) -> Markup:
    """Return the mark of generation: told apart from the circle without colour."""
    path = f"M{x:.2f} {y - radius:.2f}L{x + radius:.2f} {y:.2f}L{x:.2f} {y + radius:.2f}L{x - radius:.2f} {y:.2f}Z"
    return element("path", d=path, class_=class_)


def figure(width: float, height: float, label: str, parts: Iterable[str]) -> Markup:
    """Return the whole picture; `label` is what a screen reader says."""
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {_number(float(width))} {_number(float(height))}",
        role="img",
        aria_label=label,
        class_="figure",
    )


@dataclass(frozen=True)
class Scale:
    """A linear map from data to the page; values outside the domain are drawn at its edge."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        inside = min(max(value, self.low), self.high)
        return self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, at_most: int = 6) -> list[float]:
    """Return round positions within the domain."""
    for step in (m * 10.0**e for e in range(-3, 6) for m in (1, 2, 2.5, 5)):
        first, last = -(-low // step), high // step
        if last - first + 1 <= at_most:
            return [round(step * k, 6) for k in range(int(first), int(last) + 1)]
    return [low, high]
