"""Blocks of IQ2_XXS in Triton, for any GPU and for Triton's interpreter."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from qharness_kernels.iq2_xxs.layout import Prepared
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
    quarter, block = column // 8 % 4, column // 32
    point = word_of(payload, tile, group, GROUPS, row, quarter, row // 8) >> (8 * block) & 255
    sign = word_of(payload, tile, group, GROUPS, row, quarter, row // 8 + 2) >> (8 * block) & 255
    both = tl.load(table + 2 * point) ^ tl.load(table + 2 * sign + 1)
    number = both >> (column % 8 * 4) & 7
    magnitude = tl.where((number & 2) != 0, 43.0, tl.where((number & 1) != 0, 25.0, 8.0))
    spread = word_of(payload, tile, group, GROUPS, row, block, row // 8 + 2)
    step = (spread >> 7 & 1) | (spread >> 14 & 2) | (spread >> 21 & 4) | (spread >> 28 & 8)
    d = half_of(tl.load(scales + (tile * ((GROUPS + 1) // 2) + group // 2) * 8 + row % 8), row // 8)
    return tl.where((number & 4) != 0, -magnitude, magnitude) * (d * ((step.to(tl.float32) + 0.5) * 0.25))


def dequantize(prepared: Prepared, dtype: torch.dtype) -> Tensor:
    """Return the matrix, shape (out_features, in_features)."""
    tensors = (prepared.payload, prepared.side, prepared.table)
    return tiles.dequantize(_weights, *tensors, prepared.out_features, prepared.in_features, dtype)


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T, shape (rows, out_features), of x's type: portable, and many times slower than `cuda.matmul`."""
    return tiles.matmul(_weights, x, prepared.payload, prepared.side, prepared.table, prepared.out_features)
