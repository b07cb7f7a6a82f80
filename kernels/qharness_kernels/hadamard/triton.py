"""Hadamard transforms in Triton: a row is read once, and its Kronecker factors are products on the tensor cores.

A row is a tile (F1, F2, F3). Each factor is a matrix of one absolute value, a power of two, exact in every type, so a
product rounds only where its sums, taken in float32, become the next product's operand: at most three roundings. The
products keep the norm of a row within a factor of two; in float16 a row whose norm is beyond 30,000 may overflow.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from qharness_kernels.hadamard.tiles import Extents, operand, padded, passes, rest
from qharness_kernels.launching import early, early_options
from qharness_kernels.registry import like_input, operator


@triton.jit
def _rows(
    x,
    out,
    signs,
    first,
    second,
    third,
    rows,
    blocks,
    scale,
    R: tl.constexpr,
    F1: tl.constexpr,
    F2: tl.constexpr,
    F3: tl.constexpr,
    N1: tl.constexpr,
    N3: tl.constexpr,
    PRE: tl.constexpr,
    POST: tl.constexpr,
    LEFT: tl.constexpr,
    EARLY: tl.constexpr,
) -> None:
    """Transform tiles of R rows of N1 * F2 * N3 numbers each.

    Args:
        x: Shape (rows, N1 * F2 * N3).
        out: Of x's shape and type, written.
        signs: Factors of the numbers, shape (blocks, N1 * F2 * N3); read if PRE or POST.
        first: Matrix (F1, F1), zero beyond N1; read if F1 > 1.
        second: Matrix (F2, F2); read if F2 > 1.
        third: Matrix (F3, F3), zero beyond N3.
        rows: Number of rows.
        blocks: Row r has the signs of r modulo this.
        scale: Multiplied to the result.
        R: Rows of a tile; 1 if LEFT.
        F1: Slowest extent, padded to a power of two.
        F2: Middle extent, a power of two.
        F3: Fastest extent, padded to a power of two.
        N1: Slowest extent as stored.
        N3: Fastest extent as stored; F3 if F1 or F2 is more than 1.
        PRE: Multiply the signs before the transform.
        POST: Multiply the signs after it.
        LEFT: Begin with the first factor, from the left; else with the last, and all from the right.
        EARLY: Started while the kernel in front still runs; wait for it before what it may write is read.
    """
    if EARLY:
        gdc_launch_dependents()
    C: tl.constexpr = F2 * F3
    dtype = x.dtype.element_ty
    line = tl.arange(0, R * F1)
    column = tl.arange(0, C)
    h3 = tl.load(third + tl.arange(0, F3)[:, None] + tl.arange(0, F3)[None, :] * F3)
    if F1 > 1:
        line1 = tl.arange(0, F1)[:, None]
        across1 = tl.arange(0, F1)[None, :]
        h1 = tl.load(first + (line1 * F1 + across1 if LEFT else line1 + across1 * F1))
    if F2 > 1:
        h2 = tl.load(second + tl.arange(0, F2)[:, None] + tl.arange(0, F2)[None, :] * F2)
    within = (line % F1)[:, None] * (F2 * N3) + column[None, :]
    if EARLY:
        gdc_wait()
    for tile in range(tl.program_id(0), tl.cdiv(rows, R), tl.num_programs(0)):
        row = tile * R + line // F1
        is_there = ((row < rows) & (line % F1 < N1))[:, None] & (column < F2 * N3)[None, :]
        place = row.to(tl.int64)[:, None] * (N1 * F2 * N3) + within
        value = tl.load(x + place, mask=is_there, other=0.0)
        if PRE or POST:
            own = (row % blocks)[:, None] * (N1 * F2 * N3) + within
            sign = tl.load(signs + own, mask=is_there, other=0).to(tl.float32)
        if PRE:
            value = (value.to(tl.float32) * sign).to(dtype)
        if LEFT:
            value = tl.dot(h1, value, input_precision="ieee").to(dtype)
            value = tl.dot(value.reshape(F1 * F2, F3), h3, input_precision="ieee")
            if F2 > 1:
                value = value.to(dtype).reshape(F1, F2, F3).permute(0, 2, 1).reshape(F1 * F3, F2)
                value = tl.dot(value, h2, input_precision="ieee")
                value = value.reshape(F1, F3, F2).permute(0, 2, 1)
        else:
            value = tl.dot(value.reshape(R * F1 * F2, F3), h3, input_precision="ieee")
            if F2 > 1:
                value = value.to(dtype).reshape(R * F1, F2, F3).permute(0, 2, 1).reshape(R * F1 * F3, F2)
                value = tl.dot(value, h2, input_precision="ieee")
                value = value.reshape(R * F1, F3, F2).permute(0, 2, 1)
            if F1 > 1:
                value = value.to(dtype).reshape(R, F1, C).permute(0, 2, 1).reshape(R * C, F1)
                value = tl.dot(value, h1, input_precision="ieee")
                value = value.reshape(R, C, F1).permute(0, 2, 1)
        value = value.reshape(R * F1, C) * scale
        if POST:
            value = value * sign
        tl.store(out + place, value.to(dtype), mask=is_there)


@triton.jit
def _across(
    x,
    out,
    signs,
    matrix,
    columns,
    scale,
    F: tl.constexpr,
    N: tl.constexpr,
    WIDTH: tl.constexpr,
    POST: tl.constexpr,
    EARLY: tl.constexpr,
) -> None:
    """Multiply a matrix to the slower axis of (N, columns) in every row.

    Args:
        x: Shape (rows, N, columns).
        out: Of x's shape, written.
        signs: Factors of the results, shape (N, columns); read if POST.
        matrix: Shape (F, F), zero beyond N.
        columns: Extent of the faster axis.
        scale: Multiplied to the result.
        F: Extent of the slower axis, padded to a power of two.
        N: Extent of the slower axis.
        WIDTH: Columns of a program.
        POST: Multiply the signs after the product.
        EARLY: Started while the kernel in front still runs; wait for it before what it may write is read.
    """
    if EARLY:
        gdc_launch_dependents()
    tiles = tl.cdiv(columns, WIDTH)
    row = tl.program_id(0) // tiles
    line = tl.arange(0, F)[:, None]
    column = (tl.program_id(0) % tiles) * WIDTH + tl.arange(0, WIDTH)[None, :]
    is_there = (line < N) & (column < columns)
    within = line * columns + column
    start = row.to(tl.int64) * N * columns
    if EARLY:
        gdc_wait()
    product = tl.load(matrix + line * F + tl.arange(0, F)[None, :])
    value = tl.load(x + start + within, mask=is_there, other=0.0)
    value = tl.dot(product, value, input_precision="ieee") * scale
    if POST:
        value = value * tl.load(signs + within, mask=is_there, other=0).to(tl.float32)
    tl.store(out + start + within, value.to(out.dtype.element_ty), mask=is_there)


class Launch(NamedTuple):
    """How a pass over rows is launched.

    Attributes:
        rows: Rows of a tile.
        left: Whether the first factor is multiplied from the left, first.
        warps: Warps of a program.
        programs: Most programs; each then takes several tiles.
    """

    rows: int
    left: bool
    warps: int
    programs: int = 1 << 30


def launch_for(extents: Extents, rows: int) -> Launch:
    """Return how a pass over so many rows is launched.

    What was fastest on an H100 of every launch tried, within 4 % for one row and 1 % for 4,096: two factors start from
    the left, three from the right; 4 warps for 4,096 numbers, 8 for 14,336.
    """
    if extents.first == 1:
        tile = max(padded(extents.third), 8)
        return Launch(max(16, min(4096 // tile, 1 << (rows - 1).bit_length())), False, 4)
    warps = 4 if extents.padded <= 4096 else 8 if extents.padded <= 16384 else 16
    return Launch(1, extents.second == 1, warps)


def transform_rows(
    x: Tensor, extents: Extents, signs: Tensor | None, inverse: bool, scale: float, launch: Launch
) -> Tensor:
    """Run the pass over rows.

    Args:
        x: Shape (rows, extents.size), contiguous.
        extents: How a row is cut.
        signs: Multiplied before the transform, after the inverse; shape (blocks, extents.size), contiguous; or None.
        inverse: Apply the inverse.
        scale: Multiplied to the orthonormal result.
        launch: How to launch.

    Returns:
        Shape and dtype of x.
    """
    first, second, third = extents
    matrices = [operand(order, inverse, x.dtype, x.device) for order in extents]
    out = torch.empty_like(x)
    programs = min(triton.cdiv(len(x), launch.rows), launch.programs)
    _rows[(programs,)](
        x,
        out,
        x if signs is None else signs,
        *matrices,
        len(x),
        1 if signs is None else len(signs),
        scale * rest(*(order for order in extents if order > 1)),
        R=launch.rows,
        F1=padded(first) if first > 1 else 1,
        F2=second,
        F3=padded(third),
        N1=first,
        N3=third,
        PRE=signs is not None and not inverse,
        POST=signs is not None and inverse,
        LEFT=launch.left,
        EARLY=early(x.device),
        num_warps=launch.warps,
        num_stages=1,
        **early_options(x.device),
    )
    return out


def multiply_across(
    x: Tensor,
    matrix: Tensor,
    *,
    scale: float = 1.0,
    signs: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Multiply a matrix to the middle axis.

    Args:
        x: Shape (rows, N, columns), contiguous.
        matrix: Shape (F, F), of x's type, F a power of two of at least 16, zero beyond N.
        scale: Multiplied to the result.
        signs: Multiplied to the result, shape (N, columns), contiguous; or None.
        dtype: Type of the result; x's if None.
    """
    out, width = torch.empty_like(x, dtype=dtype), 64
    _across[(len(x) * triton.cdiv(x.shape[2], width),)](
        x,
        out,
        x if signs is None else signs,
        matrix,
        x.shape[2],
        scale,
        F=len(matrix),
        N=x.shape[1],
        WIDTH=width,
        POST=signs is not None,
        EARLY=early(x.device),
        num_warps=4,
        num_stages=1,
        **early_options(x.device),
    )
    return out


def _transform(x: Tensor, signs: Tensor | None, block: int, inverse: bool, scale: float) -> Tensor:
    extents, across = passes(block)
    rows = x.contiguous().view(-1, extents.size)
    before = None if signs is None else signs.contiguous().view(-1, extents.size)
    if across == 1:
        return transform_rows(rows, extents, before, inverse, scale, launch_for(extents, len(rows))).view(x.shape)
    after = before if inverse else None
    before = None if inverse else before
    launch = launch_for(extents, len(rows))
    part = transform_rows(rows, extents, before, inverse, 1.0, launch).view(-1, across, extents.size)
    matrix = operand(across, inverse, x.dtype, x.device)
    fused = after if after is None or len(after) == across else None
    whole = multiply_across(part, matrix, scale=scale * rest(across), signs=fused).view(x.shape)
    return whole if after is fused else (whole.float() * after.flatten()).to(x.dtype)


@operator("hadamard", like_input)
def _hadamard(x: Tensor, signs: Tensor | None, block: int, inverse: bool, scale: float) -> Tensor:
    return _transform(x, signs, block, inverse, scale)


@operator("hadamard_across", like_input)
def _heads(x: Tensor, heads: int) -> Tensor:
    rows = x.contiguous().view(-1, heads, x.shape[-1] // heads)
    return multiply_across(rows, operand(heads, False, x.dtype, x.device), scale=rest(heads)).view(x.shape)


def hadamard_transform(
    x: Tensor, block: int | None = None, signs: Tensor | None = None, inverse: bool = False, scale: float = 1.0
) -> Tensor:
    """Apply the orthonormal Hadamard map to the last dimension, as `reference.hadamard_transform` does.

    Args:
        x: Shape (..., n), float16, bfloat16 or float32, on the GPU.
        block: Size of the blocks of a block-diagonal map; None is one block.
        signs: Shape (n,), any type, fastest in that of x; real numbers are allowed.
        inverse: Apply the inverse.
        scale: Multiplied to the result.

    Returns:
        Shape (..., n), dtype of x.
    """
    found: Tensor = _hadamard(x, signs, block or x.shape[-1], inverse, scale)
    return found


def hadamard_across(x: Tensor, heads: int) -> Tensor:
    """Apply (H_heads kron I) / sqrt(heads) to the last dimension, as `reference.hadamard_across` does."""
    found: Tensor = _heads(x, heads)
    return found
