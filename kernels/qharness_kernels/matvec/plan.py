"""How a product is divided over an H100's multiprocessors."""

from __future__ import annotations

from typing import NamedTuple

from qharness_kernels.matvec.tiles import COLUMNS, ROWS, count

MULTIPROCESSORS = 132


class Plan(NamedTuple):
    """How a product is cut.

    Attributes:
        row_tiles: Tiles of 16 outputs of a block.
        split: Blocks that share out the columns.
        warps: Warps of a block, which share out its columns.
        blocks: Blocks that a multiprocessor can hold, of this product or of the next.
        ahead: Tiles that a warp has on the way.
    """

    row_tiles: int
    split: int
    warps: int
    blocks: int
    ahead: int


def plan(out_features: int, in_features: int, rows: int, has_table: bool) -> Plan:
    """Return how a product is cut: one block for a multiprocessor, beside one of the product that follows.

    Args:
        out_features: Rows of the matrix.
        in_features: Columns of the matrix.
        rows: Rows of x, 1 to 16.
        has_table: Whether the code keeps a table in shared memory.
    """
    tiles, groups = count(out_features, ROWS), count(in_features, COLUMNS)
    row_tiles = min(count(tiles, MULTIPROCESSORS), 7)
    warps = min(8 if row_tiles > 2 else 16, groups)
    steps = count(groups, warps)
    most = (96 if has_table else 224) // warps
    return Plan(row_tiles, 1, warps, 2 if warps <= 8 and rows <= 8 else 1, min(row_tiles * steps, most, 28))
