"""Trellis-coded matrices in plain torch: what the kernels must agree with."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor

from qharness_kernels.trellis.codes import decode_states
from qharness_kernels.trellis.packing import unpack_states
from qharness_kernels.trellis.shape import Trellis

SIDE = 16
LENGTH = SIDE * SIDE
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


def from_sequences(sequences: Tensor, order: TileOrder) -> Tensor:
    """Return the weights, shape (16 a, 16 b), of sequences of shape (a, b, 256)."""
    tiles = sequences[..., positions(order, sequences.device).argsort()]
    return tiles.unflatten(2, (SIDE, SIDE)).transpose(1, 2).flatten(2, 3).flatten(0, 1)


def dequantize(
    payload: Tensor, scale: Tensor, lut: Tensor | None, trellis: Trellis, code: str, order: TileOrder
) -> Tensor:
    """Return the matrix, shape (out, in), float32.

    Args:
        payload: Rings of the tiles' states, shape (out / 16, in / 16, 16 * bits), int16.
        scale: Factor of the code's weights, shape (1,).
        lut: Table of `hyb`, shape (2^lut_bits, 2), or None.
        trellis: The trellis.
        code: Name of the code.
        order: Order of a tile's weights.
    """
    every = torch.arange(trellis.states, device=payload.device)
    values = decode_states(code, every, None if lut is None else lut.float())
    states = unpack_states(payload.flatten(0, 1), trellis).unflatten(0, payload.shape[:2])
    return from_sequences(values[states].flatten(2), order) * scale.float()


def matmul(
    x: Tensor, payload: Tensor, scale: Tensor, lut: Tensor | None, trellis: Trellis, code: str, order: TileOrder
) -> Tensor:
    """Return x W^T, shape (rows, out), float32; the arguments are those of `dequantize`, x has shape (rows, in)."""
    return x.float() @ dequantize(payload, scale, lut, trellis, code, order).T
