"""Code words of E8P in Triton, for any GPU and for Triton's interpreter."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from qharness_kernels.e8p.layout import Prepared
from qharness_kernels.matvec import triton as tiles
from qharness_kernels.matvec.triton import word_of


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
    """Return the weights of a tile; GROUP is the number of rows, and see `layout.table` for the numbers."""
    quarter, shift = column // 8 % 4, column // 32 * 8
    pattern = word_of(payload, tile, group, GROUPS, row, quarter, row // 8) >> shift & 255
    sign = word_of(payload, tile, group, GROUPS, row, quarter, row // 8 + 2) >> shift & 255
    both = tl.load(table + 2 * pattern) ^ tl.load(table + 2 * sign + 1)
    number = both >> (column % 8 // 2 * 4 + column % 2 * 16) & 15
    if ONE_SCALE:  # noqa: SIM108
        scale = tl.load(scales)
    else:
        scale = tl.load(scales + tile * 16 + row, mask=tile * 16 + row < GROUP, other=0.0)
    return (number.to(tl.float32) - 7.5) * 0.5 * scale.to(tl.float32)


def dequantize(prepared: Prepared, dtype: torch.dtype) -> Tensor:
    """Return the matrix, shape (out_features, in_features)."""
    rows = prepared.out_features
    tensors = (prepared.payload, prepared.scales, prepared.table)
    return tiles.dequantize(_weights, *tensors, rows, prepared.in_features, dtype, group=rows)


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T, shape (rows, out_features), of x's type: portable, and many times slower than `cuda.matmul`."""
    rows = prepared.out_features
    return tiles.matmul(_weights, x, prepared.payload, prepared.scales, prepared.table, rows, group=rows)
