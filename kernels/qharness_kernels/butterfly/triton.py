"""Butterfly transforms in Triton: all stages of a row in one pass, in float32, and one across the odd factor."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from qharness_kernels.butterfly.layout import Prepared
from qharness_kernels.hadamard.triton import multiply_across
from qharness_kernels.registry import like_input, operator


@triton.jit
def _stage(
    value,
    cosines,
    sines,
    R: tl.constexpr,
    STAGES: tl.constexpr,
    STAGE: tl.constexpr,
    INVERSE: tl.constexpr,
) -> tl.tensor:
    """Return rows whose pairs (i, i + 2^STAGE) are turned; arguments as those of `_stages`, value (R, 2^STAGES)."""
    stride: tl.constexpr = 1 << STAGE
    blocks: tl.constexpr = 1 << (STAGES - STAGE - 1)
    pair = STAGE * (blocks * stride) + tl.arange(0, blocks * stride)
    cosine = tl.load(cosines + pair).reshape(1, blocks, stride)
    sine = tl.load(sines + pair).reshape(1, blocks, stride)
    if INVERSE:
        sine = -sine
    a, b = tl.split(value.reshape(R, blocks, 2, stride).permute(0, 1, 3, 2))
    turned = tl.join(a * cosine - b * sine, a * sine + b * cosine)
    return turned.permute(0, 1, 3, 2).reshape(R, 2 * blocks * stride)


@triton.jit
def _stages(x, out, cosines, sines, rows, R: tl.constexpr, STAGES: tl.constexpr, INVERSE: tl.constexpr) -> None:
    """Turn pairs of R rows of P = 2^STAGES numbers by the angles of each stage.

    Args:
        x: Shape (rows, P).
        out: Of x's shape, written.
        cosines: Shape (STAGES, P / 2), float32.
        sines: Likewise.
        rows: Number of rows.
        R: Rows of a program.
        STAGES: Base-2 logarithm of P.
        INVERSE: Turn back, the last stage first.
    """
    P: tl.constexpr = 1 << STAGES
    row = tl.program_id(0) * R + tl.arange(0, R)
    place = row.to(tl.int64)[:, None] * P + tl.arange(0, P)[None, :]
    is_there = (row < rows)[:, None] & (tl.arange(0, P)[None, :] < P)
    value = tl.load(x + place, mask=is_there, other=0.0).to(tl.float32)
    for index in tl.static_range(STAGES):
        if INVERSE:
            value = _stage(value, cosines, sines, R, STAGES, STAGES - 1 - index, True)
        else:
            value = _stage(value, cosines, sines, R, STAGES, index, False)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=is_there)


def _turn(x: Tensor, cosines: Tensor, sines: Tensor, inverse: bool, dtype: torch.dtype) -> Tensor:
    stages = len(cosines)
    rows = x.contiguous().view(-1, 1 << stages)
    out = torch.empty_like(rows, dtype=dtype)
    tile = max(1, min(2048 >> stages, 1 << (len(rows) - 1).bit_length()))
    warps = max(1, min(16, (tile << stages) >> 9))
    _stages[(triton.cdiv(len(rows), tile),)](
        rows, out, cosines, sines, len(rows), R=tile, STAGES=stages, INVERSE=inverse, num_warps=warps, num_stages=1
    )
    return out


@operator("butterfly", like_input)
def _butterfly(x: Tensor, cosines: Tensor, sines: Tensor, factor: Tensor, inverse: bool) -> Tensor:
    k = x.shape[-1] >> len(cosines)
    if k == 1:
        return _turn(x, cosines, sines, inverse, x.dtype).view(x.shape)
    if not inverse:
        turned = _turn(x, cosines, sines, False, torch.float32) if len(cosines) else x.float()
        return multiply_across(turned.view(-1, k, 1 << len(cosines)), factor, dtype=x.dtype).view(x.shape)
    mixed = multiply_across(x.float().contiguous().view(-1, k, 1 << len(cosines)), factor.T.contiguous())
    turned = _turn(mixed, cosines, sines, True, x.dtype) if len(cosines) else mixed.to(x.dtype)
    return turned.view(x.shape)


def butterfly_transform(x: Tensor, prepared: Prepared, inverse: bool = False) -> Tensor:
    """Apply the butterfly, or its transpose, to the last dimension, as `reference.butterfly_transform` does.

    Args:
        x: Shape (..., n), float16, bfloat16 or float32, on the GPU.
        prepared: Parameters, from `prepare`, on the same device.
        inverse: Apply the transpose, the exact inverse.

    Returns:
        Shape (..., n), dtype of x.
    """
    found: Tensor = _butterfly(x, prepared.cosines, prepared.sines, prepared.factor, inverse)
    return found
