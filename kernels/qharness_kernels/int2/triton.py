"""Two-bit codes in Triton, for any GPU and for Triton's interpreter."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from qharness_kernels.int2.layout import Prepared
from qharness_kernels.matvec import triton as tiles
from qharness_kernels.matvec.triton import half_of, word_of


@triton.jit
def _weights(  # noqa: ANN202
    payload,
    scales,
    table,
    tile,
    group,
    row,
    column,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    ONE_SCALE: tl.constexpr,
):
    """Return the weights of a tile; see `layout.py` for the order of bits."""
    word = word_of(payload, tile, group, GROUPS, row, column // 8 % 4, column // 64 * 2 + row // 8)
    code = word >> (column // 2 % 4 * 2 + column // 32 % 2 * 8 + column % 2 * 16) & 3
    segments: tl.constexpr = 128 // GROUP if GROUP < 128 else 1
    span: tl.constexpr = (GROUP + 127) // 128
    sides: tl.constexpr = (GROUPS + span - 1) // span
    segment = column * segments // 128
    place = (((tile * sides + group // span) * 8 + row % 8) * segments + segment) * 2 + row // 8
    pair = tl.load(scales + place)
    return (code.to(tl.float32) - half_of(pair, 1)) * half_of(pair, 0)


def dequantize(prepared: Prepared, dtype: torch.dtype) -> Tensor:
    """Return the matrix, shape (out_features, in_features)."""
    payload, side = prepared.payload, prepared.side
    sizes = (prepared.out_features, prepared.in_features)
    weight = tiles.dequantize(_weights, payload, side, side, *sizes, dtype, group=prepared.group)
    return weight if prepared.columns is None else weight[:, prepared.columns.argsort()]


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T, shape (rows, out_features), of x's type: portable, and many times slower than `cuda.matmul`."""
    payload, side = prepared.payload, prepared.side
    x = x if prepared.columns is None else x[:, prepared.columns]
    return tiles.matmul(_weights, x, payload, side, side, prepared.out_features, group=prepared.group)
