"""How a product is divided over an H100's multiprocessors."""

from __future__ import annotations

from typing import NamedTuple

from qharness_kernels.matvec.tiles import COLUMNS, ROWS, count

MULTIPROCESSORS = 132
EIGHT = 8
MOST_TILES, MOST_TILES_WITHOUT_TABLE = 7, 4
"""Tiles of a block; without a table of its own, two smaller blocks fill a multiprocessor as well."""
SMALL = 3
"""Tiles of a multiprocessor up to which a block needs more than 8 warps to have enough on the way."""
LONG = 64
"""Groups of columns above which 9 to 16 rows are faster with the columns shared out over two blocks."""


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
    """Return how a product is cut, by rules that follow the fastest of the cuts measured on an H100.

    Blocks are of one size, and about as many as multiprocessors or a multiple of that. Up to 8 rows, more warps make up
    for few tiles, so that a multiprocessor always has some 30 tiles on the way. A warp has one group of columns of all
    its tiles on the way; more were slower.

    Args:
        out_features: Rows of the matrix.
        in_features: Columns of the matrix.
        rows: Rows of x, 1 to 16.
        has_table: Whether the code keeps a table in shared memory.
    """
    tiles, groups = count(out_features, ROWS), count(in_features, COLUMNS)
    few = rows <= EIGHT
    most = MOST_TILES_WITHOUT_TABLE if few and not has_table else MOST_TILES
    share = count(tiles, MULTIPROCESSORS)
    row_tiles, split = count(share, count(share, most)), 1
    if not few and share in (2, SMALL) and groups > LONG:
        row_tiles, split = 2 * row_tiles, 2
    warps = 32 if share == 1 else 16 if share <= SMALL else 8
    if not few:
        warps = max(warps // 2, 8)
    blocks = 2 if few and not has_table and share > SMALL else 1
    return Plan(row_tiles, split, min(warps, groups), blocks, row_tiles)
