"""Williamson's four symmetric circulants, for the orders 4t = 92, 116, 172 that Paley's constructions do not reach.

Found by our own search: for t = 43 among rows constant on the orbits of multiplication by 6 (Williamson, Duke Math. J.
11 (1944) found this order), for t = 23 and 29 among all symmetric rows, by matching the autocorrelations of pairs.
"""

from __future__ import annotations

_HALVES: dict[int, tuple[str, ...]] = {
    23: (
        "--++-+-+---",
        "-+--+++++--",
        "-+++--++-+-",
        "++++-++---+",
    ),
    29: (
        "++--++-+-+----",
        "++---+++-+-+--",
        "--+-+++++--++-",
        "++-++-+--+++-+",
    ),
    43: (
        "++++-++----+-++--++-+",
        "++---++--+-+-+-++----",
        "+-+-++++-+--+--+++--+",
        "-++-----++++-+-+++-++",
    ),
}


def williamson_rows(t: int) -> tuple[tuple[int, ...], ...] | None:
    """Return the first rows of four symmetric circulants with A^2 + B^2 + C^2 + D^2 = 4 t I.

    Args:
        t: Order of the circulants.

    Returns:
        Four rows of length t with entries +1 and -1, or None if they are not known here.
    """
    halves = _HALVES.get(t)
    if halves is None:
        return None
    signs = [[1 if mark == "+" else -1 for mark in half] for half in halves]
    return tuple((1, *half, *reversed(half)) for half in signs)
