"""Numbers as text. None and NaN become a dash everywhere."""

from __future__ import annotations

import math

DASH = "–"
MINUS = "−"


def is_missing(value: float | None) -> bool:
    """Return whether there is no number to show."""
    return value is None or math.isnan(value)


def decimal(value: float | None, digits: int = 1) -> str:
    """Return the number with a true minus sign; a value that rounds to zero has no sign."""
    if value is None or math.isnan(value):
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def percent(fraction: float | None, digits: int = 0) -> str:
    """Return a fraction as percent, with the sign of percent."""
    if fraction is None or math.isnan(fraction):
        return DASH
    return decimal(fraction * 100, digits) + "\u202f%"


def points(fraction: float | None, digits: int = 1) -> str:
    """Return a difference of fractions in percentage points, always signed."""
    if fraction is None or math.isnan(fraction):
        return DASH
    text = decimal(fraction * 100, digits)
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def interval(low: float | None, high: float | None, scale: float = 100, digits: int = 0) -> str:
    """Return `[low, high]`, or nothing where a bound is missing."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{decimal(low * scale, digits)}, {decimal(high * scale, digits)}]"


def p_value(p: float | None) -> str:
    """Return a p-value with at most three decimals."""
    if p is None or math.isnan(p):
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def size(count: float | None) -> str:
    """Return a number of bytes in decimal units (1 MB is 10^6 bytes)."""
    if count is None or math.isnan(count):
        return DASH
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count:.0f} B"


def plain(value: object) -> str:
    """Return any JSON value as short text for a table."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return DASH if math.isnan(value) else f"{value:.4g}".replace("-", MINUS)
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value) or "none"
    if isinstance(value, dict) and value.keys() == {"estimate", "low", "high"}:
        return f"{decimal(value['estimate'], 2)} {interval(value['low'], value['high'], scale=1, digits=2)}"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {plain(item)}" for key, item in value.items()) or "none"
    return str(value)
