"""Tiles of 16 x 16 weights as sequences of 256."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor

from qharness.rounding.code import Tile

TILE = Tile(16, 16)
LENGTH = TILE.rows * TILE.columns
TileOrder = Literal["rows", "fragment"]


@cache
def positions(order: TileOrder, device: torch.device) -> Tensor:
    """Return which weight of a tile, counted row by row, stands at each place of the sequence, shape (256,), int64.

    `fragment` is the order in which the lanes of a warp hold the first operand of mma.m16n8k16: with the row a b
    (2 x 8) and the column c d e (2 x 4 x 2), lanes b d hold c a e.
    """
    row_by_row = torch.arange(LENGTH, device=device)
    if order == "rows":
        return row_by_row
    return row_by_row.view(2, 8, 2, 4, 2).permute(1, 3, 2, 0, 4).flatten()


def to_sequences(weights: Tensor, order: TileOrder) -> Tensor:
    """Return the tiles of weights of shape (16 a, 16 b) as sequences, shape (a, b, 256)."""
    tiles = weights.unflatten(0, (-1, TILE.rows)).unflatten(2, (-1, TILE.columns)).transpose(1, 2).flatten(2)
    return tiles[..., positions(order, weights.device)]


def from_sequences(sequences: Tensor, order: TileOrder) -> Tensor:
    """Return the weights, shape (16 a, 16 b), of sequences of shape (a, b, 256)."""
    tiles = sequences[..., positions(order, sequences.device).argsort()]
    return tiles.unflatten(2, TILE).transpose(1, 2).flatten(2, 3).flatten(0, 1)
