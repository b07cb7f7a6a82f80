"""Dequantization and products of tiles in Triton, for any GPU and for Triton's interpreter.

A code gives a function `weights(payload, scales, table, tile, group, row, column, GROUPS, GROUP, ONE_SCALE)` that
returns the weights of a tile: `row` is 0 .. 15, shape (16, 1), `column` is 0 .. 127, shape (1, 128).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from qharness_kernels.matvec.tiles import ROWS, count


@triton.jit
def word_of(payload, tile, group, GROUPS: tl.constexpr, row, quarter, index):  # noqa: ANN201
    """Return word `index` of the lane that holds a row and a quarter of 32 columns."""
    lane = 4 * (row % 8) + quarter
    return tl.load(payload + ((tile * GROUPS + group) * 32 + lane) * 4 + index)


@triton.jit
def half_of(pair, upper):  # noqa: ANN201
    """Return the float16 in the lower (0) or upper (1) half of a word, as float32."""
    return (pair >> (16 * upper)).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)


@triton.jit
def _dequantize(
    payload,
    scales,
    table,
    y,
    out_features,
    in_features,
    WEIGHTS: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    ONE_SCALE: tl.constexpr,
) -> None:
    """Write a tile of the matrix, shape (out_features, in_features)."""
    tile = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1)
    row = tl.arange(0, 16)[:, None]
    column = tl.arange(0, 128)[None, :]
    tile_of_y = WEIGHTS(payload, scales, table, tile, group, row, column, GROUPS, GROUP, ONE_SCALE)
    i, j = tile * 16 + row, group * 128 + column
    tl.store(y + i * in_features + j, tile_of_y, mask=(i < out_features) & (j < in_features))


@triton.jit
def _multiply(
    payload,
    scales,
    table,
    x,
    y,
    rows,
    out_features,
    in_features,
    WEIGHTS: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    ONE_SCALE: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    """Write 16 columns of y for 16 rows of x."""
    tile = tl.program_id(0).to(tl.int64)
    row = tl.arange(0, 16)[:, None]
    column = tl.arange(0, 128)[None, :]
    i = tl.program_id(1) * 16 + row
    total = tl.zeros((16, 16), tl.float32)
    for group in range(GROUPS):
        j = group * 128 + column
        part = tl.load(x + i * in_features + j, mask=(i < rows) & (j < in_features), other=0.0)
        weights = WEIGHTS(payload, scales, table, tile, group, row, column, GROUPS, GROUP, ONE_SCALE)
        # The interpreter takes the bits of a bfloat16 for a number.
        kind: tl.constexpr = tl.float32 if WIDE else part.dtype
        total = tl.dot(part.to(kind), tl.trans(weights.to(part.dtype).to(kind)), total, input_precision="ieee")
    o = tile * 16 + tl.arange(0, 16)[None, :]
    tl.store(y + i * out_features + o, total, mask=(i < rows) & (o < out_features))


def dequantize(
    weights: Any,
    payload: Tensor,
    scales: Tensor,
    table: Tensor,
    out_features: int,
    in_features: int,
    dtype: torch.dtype,
    *,
    group: int = 0,
) -> Tensor:
    """Return the matrix, shape (out_features, in_features).

    Args:
        weights: The code's function.
        payload: Shape (tiles, groups, 32, 4), int32.
        scales: As the code lays them out.
        table: As the code lays it out.
        out_features: Rows.
        in_features: Columns.
        dtype: Of the result.
        group: Columns that share a scale, where the code asks for it.
    """
    y = torch.empty(out_features, in_features, dtype=dtype, device=payload.device)
    tiles, groups = payload.shape[:2]
    one = scales.numel() == 1
    _dequantize[(tiles, groups)](payload, scales, table, y, out_features, in_features, weights, groups, group, one)
    return y


def matmul(
    weights: Any, x: Tensor, payload: Tensor, scales: Tensor, table: Tensor, out_features: int, *, group: int = 0
) -> Tensor:
    """Return x W^T, shape (rows, out_features), of x's type; arguments as `dequantize` takes them."""
    x = x.contiguous()
    y = torch.empty(len(x), out_features, dtype=x.dtype, device=x.device)
    tiles, groups = payload.shape[:2]
    sizes = (len(x), out_features, x.shape[1])
    one = scales.numel() == 1
    grid, wide = (tiles, count(len(x), ROWS)), triton.knobs.runtime.interpret
    _multiply[grid](payload, scales, table, x, y, *sizes, weights, groups, group, one, wide)
    return y
