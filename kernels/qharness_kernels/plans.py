"""How a product of up to 16 rows of activations with a decoded matrix is cut for a GPU."""

from __future__ import annotations

from typing import NamedTuple

SIDE = 16
"""Outputs of a tile."""
COLUMNS = 8
"""Rows of activations that one matrix instruction takes as its columns."""
DECODE_ROWS = 16
MOST_TILES = 7
SMALL = 3
"""Tiles of a block up to which it needs more than 8 warps."""


class Plan(NamedTuple):
    """How a product is cut.

    Attributes:
        tiles: Most tiles of 16 outputs of a block.
        slabs: Groups of 8 columns of activations.
        warps: Warps of a block, which share the inputs.
        ahead: Chunks of inputs that a warp has on the way.
        resident: Blocks that a multiprocessor can hold.
        eager: Whether a warp reads the activations of its next chunk early.
    """

    tiles: int
    slabs: int
    warps: int
    ahead: int
    resident: int = 1
    eager: int = 0

    def constants(self) -> dict[str, int]:
        """Return the plan as constants of a kernel's source."""
        return {name.upper(): value for name, value in self._asdict().items()}


def plan(out_features: int, rows: int, processors: int) -> Plan:
    """Return how a product is cut: all inputs in one block, so that nothing is added across blocks.

    The rules follow the fastest of the cuts measured on an H100: more warps for blocks of few tiles, and activations
    read early by those of many.

    Args:
        out_features: Outputs.
        rows: Rows of activations, 1 to 16.
        processors: Multiprocessors of the GPU.
    """
    share = -(-out_features // (SIDE * processors))
    tiles = -(-share // -(-share // MOST_TILES))
    slabs = -(-rows // COLUMNS)
    if tiles > SMALL:
        return Plan(tiles, slabs, warps=8, ahead=1, eager=1)
    return Plan(tiles, slabs, warps=32 if tiles == slabs == 1 else 16, ahead=1)


def blocks(out_features: int, cut: Plan, processors: int) -> int:
    """Return how many blocks share the tiles: one a multiprocessor where that is enough and there is work for each.

    A kernel that starts early then finds room for one block on each multiprocessor, and not for two on some.

    Args:
        out_features: Outputs.
        cut: How the product is cut.
        processors: Multiprocessors of the GPU.
    """
    tiles = -(-out_features // SIDE)
    return max(-(-tiles // cut.tiles), min(tiles, processors))
