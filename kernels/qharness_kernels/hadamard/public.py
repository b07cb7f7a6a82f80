"""The Hadamard factors of the public QuIP# and QTIP checkpoints.

Their dense factors come from Sloane's library of Hadamard matrices (neilsloane.com/hadamard) and are other members of
the families than `hadamard_matrix` generates: Paley I bordered the other way, Paley II in halves, and Williamson
arrays of other rows. All twelve are derived here; only the rows of the five Williamson arrays are data.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qharness_kernels.hadamard.fields import quadratic_character

ORDERS = (172, 156, 140, 124, 116, 108, 60, 52, 36, 28, 20, 12)
# First rows of the symmetric circulants A, B, C, D, without their first entry (+) and their mirrored second half.
# Source: Sloane's library, the files had.52.will, had.116.will, had.124, had.156.will and had.172.will.
HALVES = {
    52: ("-+--++", "---+++", "+-+--+", "----+-"),
    116: ("+--+--+-+++-++", "+++-++-+---+++", "-+---++--+-+++", "++---++--+-+--"),
    124: ("--+++-+--+----+", "--+++-+--+----+", "-----+++-+-+--+", "+++++---+-+-++-"),
    156: ("++--+-+-----+--++--", "+++---+--++----+-+-", "++--++-+---+-+--+--", "---++-+-+-----+++-+"),
    172: (
        "---++--++++-+-+++-++-",
        "+-++++++----+-+--++-+",
        "++-+-++--+-+-++++-+--",
        "+---++++-+--+--++----",
    ),
}


@cache
def _matrix(order: int) -> NDArray[np.int8]:
    if order in HALVES:
        half = order // 8
        shift = (np.arange(order // 4)[None, :] - np.arange(order // 4)[:, None]) % (order // 4)
        rows = [[1 if mark == "+" else -1 for mark in text] for text in HALVES[order]]
        assert all(len(row) == half for row in rows)
        a, b, c, d = (np.array([1, *row, *reversed(row)], dtype=np.int8)[shift] for row in rows)
        return np.block([[a, b, c, d], [-b, a, -d, c], [-c, d, a, -b], [-d, -c, b, a]])
    if order in (28, 36):
        size = order // 2
        conference = np.ones((size, size), dtype=np.int8) - np.eye(size, dtype=np.int8)
        conference[1:, 1:] = quadratic_character(size - 1)
        unit = np.eye(size, dtype=np.int8)
        return np.block([[conference + unit, conference - unit], [conference - unit, -conference - unit]])
    found = np.ones((order, order), dtype=np.int8)
    found[0, 1:] = -1
    found[1:, 1:] = np.eye(order - 1, dtype=np.int8) + quadratic_character(order - 1)
    return found


def public_factor(n: int) -> tuple[int, int]:
    """Split n into K * P as the public checkpoints do: the largest K of their list that divides n; P a power of two.

    Raises:
        ValueError: They have no Hadamard map of that size.
    """
    order = next((k for k in ORDERS if n % k == 0), 1)
    rest = n // order
    if rest & (rest - 1):
        raise ValueError(f"The public format has no Hadamard map of size {n}.")
    return order, rest


def public_matrix(order: int) -> Tensor:
    """Return the dense factor of an order in `ORDERS`, shape (order, order), int8."""
    return torch.from_numpy(_matrix(order).copy())
