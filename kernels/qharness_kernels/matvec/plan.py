"""How a product is divided over an H100's multiprocessors."""

from __future__ import annotations

from typing import NamedTuple

from qharness_kernels.matvec.tiles import COLUMNS, ROWS, count


class Plan(NamedTuple):
    """Row tiles of a block, blocks that share out the columns, warps of a block, and blocks of a multiprocessor."""

    row_tiles: int
    split: int
    warps: int
    blocks: int


MULTIPROCESSORS = 132


def plan(out_features: int, in_features: int, rows: int) -> Plan:
    """Return the plan of a size.

    Args:
        out_features: Rows of the matrix.
        in_features: Columns of the matrix.
        rows: Rows of x, 1 to 16.
    """
    tiles, groups = count(out_features, ROWS), count(in_features, COLUMNS)
    split = 4 if tiles < 4 * MULTIPROCESSORS else 1
    row_tiles = min(max(count(tiles * split, MULTIPROCESSORS), 1), 8)
    warps = min(16 if rows <= 8 else 8, count(groups, split))
    return Plan(row_tiles, split, warps, 1)
