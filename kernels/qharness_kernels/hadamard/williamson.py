"""Williamson's four symmetric circulants, for the orders 4t that Paley's constructions do not reach."""

from __future__ import annotations


def williamson_rows(t: int) -> tuple[tuple[int, ...], ...] | None:
    """Return the first rows of Williamson matrices of order t, or None if they are not known here."""
    return None
