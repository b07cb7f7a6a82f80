"""Tiles of 16 x 16 weights as sequences of 256."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qharness.rounding.code import Tile
from qharness_kernels.trellis.reference import SIDE, TileOrder, positions

if TYPE_CHECKING:
    from torch import Tensor

TILE = Tile(SIDE, SIDE)


def to_sequences(weights: Tensor, order: TileOrder) -> Tensor:
    """Return the tiles of weights of shape (16 a, 16 b) as sequences, shape (a, b, 256)."""
    tiles = weights.unflatten(0, (-1, TILE.rows)).unflatten(2, (-1, TILE.columns)).transpose(1, 2).flatten(2)
    return tiles[..., positions(order, weights.device)]
