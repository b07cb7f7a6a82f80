"""Trellis-coded matrices in Triton, without inline machine code: what runs where the CUDA kernels do not.

A program computes the weights of a tile of 16 outputs and a chunk of 128 inputs from the words that hold them.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from qharness_kernels.trellis.layout import Prepared
from qharness_kernels.trellis.reference import SIDE

CODES = {"hyb": 0, "1mad": 1, "3inst": 2, "mul1": 3}


@triton.jit
def _byte_sum(mixed) -> tl.tensor:
    """Return the sum of the four lower bytes."""
    return (mixed & 255) + ((mixed >> 8) & 255) + ((mixed >> 16) & 255) + ((mixed >> 24) & 255)


@triton.jit
def _value(state, even, lut, CODE: tl.constexpr, LUT: tl.constexpr) -> tl.tensor:
    """Return the weights of states, float32, in units of the code; of `hyb` the first of a state's two where `even`."""
    if CODE == 0:
        mixed = state * (state + 1)
        row = (mixed >> (15 - LUT)) & ((1 << LUT) - 1)
        found = tl.load(lut + 2 * row + tl.where(even, 0, 1)).to(tl.float32)
        value = tl.where(even & (((mixed >> 15) & 1) == 1), -found, found)
    elif CODE == 2:
        mixed = (state * 89226354 + 64248484) & 0xFFFFFFFF
        made = (mixed & 0x8FFF8FFF) ^ 0x3B603B60
        high = (made >> 16).to(tl.int16).to(tl.float16, bitcast=True)
        low = (made & 0xFFFF).to(tl.int16).to(tl.float16, bitcast=True)
        value = (high.to(tl.float32) + low.to(tl.float32)).to(tl.float16).to(tl.float32)
    elif CODE == 1:
        value = (_byte_sum(state * 34038481 + 76625530) - 510).to(tl.float32) / 147.800537109375
    else:
        # 0.00677 and -10.39 as float16; the sum is exact before it is rounded to float16.
        total = (_byte_sum(state * 0x83DCD12D) + 1024).to(tl.float32)
        value = (total * 0.006771087646484375 - 10.390625).to(tl.float16).to(tl.float32)
    return value


@triton.jit
def _weights(
    words,
    lut,
    tile,
    chunk,
    chunks,
    CODE: tl.constexpr,
    BITS: tl.constexpr,
    VECTOR: tl.constexpr,
    STATE: tl.constexpr,
    LUT: tl.constexpr,
    ROWWISE: tl.constexpr,
) -> tl.tensor:
    """Return a chunk of a tile, shape (16, 128), float32, in units of the code."""
    row = tl.arange(0, 16)[:, None]
    k = tl.arange(0, 128)[None, :]
    column = k % 16
    if ROWWISE:
        place = row * 16 + column
    else:
        place = (row % 8) * 32 + (column % 8) // 2 * 8 + column // 8 * 4 + row // 8 * 2 + column % 2
    lane = place // 32 * 4 + (k % 64) // 16
    bit = place % 32 // VECTOR * VECTOR * BITS
    WIDE: tl.constexpr = 2 if BITS == 3 else 4
    start = (tile * chunks + chunk) * (64 * BITS)
    at = k // 64 * BITS + bit // 32
    is_last = bit // 32 == BITS - 1
    lane_after = tl.where(is_last, (lane + 4) % 32, lane)
    after = tl.where(is_last, k // 64 * BITS, at + 1)
    first = tl.load(words + start + at // WIDE * (32 * WIDE) + lane * WIDE + at % WIDE).to(tl.int64)
    last = tl.load(words + start + after // WIDE * (32 * WIDE) + lane_after * WIDE + after % WIDE).to(tl.int64)
    offset = bit % 32
    window = ((first & 0xFFFFFFFF) << offset >> 16) | ((last & 0xFFFFFFFF) << offset >> 48)
    state = (window & 0xFFFF) >> (16 - STATE)
    return _value(state, place % 2 == 0, lut, CODE, LUT)


@triton.jit
def _expand(
    words,
    scale,
    lut,
    weight,
    chunks,
    in_features,
    CODE: tl.constexpr,
    BITS: tl.constexpr,
    VECTOR: tl.constexpr,
    STATE: tl.constexpr,
    LUT: tl.constexpr,
    ROWWISE: tl.constexpr,
) -> None:
    """Write a chunk of a tile of the matrix."""
    tile = tl.program_id(0)
    chunk = tl.program_id(1)
    value = _weights(words, lut, tile, chunk, chunks, CODE, BITS, VECTOR, STATE, LUT, ROWWISE) * tl.load(scale)
    k = chunk * 128 + tl.arange(0, 128)[None, :]
    row = (tile * 16 + tl.arange(0, 16)[:, None]).to(tl.int64)
    tl.store(weight + row * in_features + k, value.to(weight.dtype.element_ty), mask=(k < in_features) & (row >= 0))


@triton.jit
def _multiply(
    x,
    words,
    scale,
    lut,
    y,
    rows,
    chunks,
    in_features,
    out_features,
    CODE: tl.constexpr,
    BITS: tl.constexpr,
    VECTOR: tl.constexpr,
    STATE: tl.constexpr,
    LUT: tl.constexpr,
    ROWWISE: tl.constexpr,
) -> None:
    """Write the products of 16 rows of activations with a tile."""
    tile = tl.program_id(0)
    row = tl.program_id(1) * 16 + tl.arange(0, 16)[:, None]
    total = tl.zeros((16, 16), tl.float32)
    for chunk in range(chunks):
        k = chunk * 128 + tl.arange(0, 128)[None, :]
        inputs = tl.load(x + row * in_features + k, mask=(row < rows) & (k < in_features), other=0.0)
        value = _weights(words, lut, tile, chunk, chunks, CODE, BITS, VECTOR, STATE, LUT, ROWWISE)
        total += tl.dot(inputs, tl.trans(value).to(x.dtype.element_ty))
    column = tile * 16 + tl.arange(0, 16)[None, :]
    result = (total * tl.load(scale)).to(y.dtype.element_ty)
    tl.store(y + row * out_features + column, result, mask=(row < rows) & (column < out_features))


def _constants(prepared: Prepared) -> dict[str, int | bool]:
    trellis, lut = prepared.trellis, prepared.lut
    return {
        "CODE": CODES[prepared.code],
        "BITS": trellis.bits,
        "VECTOR": trellis.vector,
        "STATE": trellis.state_bits,
        "LUT": 0 if lut is None else len(lut).bit_length() - 1,
        "ROWWISE": prepared.order == "rows",
    }


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T.

    Args:
        x: Shape (rows, in_features), float16 or bfloat16.
        prepared: The matrix, on the same device.

    Returns:
        Shape (rows, out_features), in the type of `x`.
    """
    y = torch.empty(len(x), prepared.out_features, dtype=x.dtype, device=x.device)
    lut = prepared.scale if prepared.lut is None else prepared.lut
    grid = (prepared.out_features // SIDE, triton.cdiv(len(x), SIDE))
    sizes = (len(x), prepared.words.shape[1], prepared.in_features, prepared.out_features)
    if len(x):
        _multiply[grid](x.contiguous(), prepared.words, prepared.scale, lut, y, *sizes, **_constants(prepared))
    return y


def dequantize(prepared: Prepared, dtype: torch.dtype) -> Tensor:
    """Return the matrix, shape (out_features, in_features).

    Args:
        prepared: The matrix.
        dtype: float16, bfloat16 or float32.
    """
    words = prepared.words
    weight = torch.empty(prepared.out_features, prepared.in_features, dtype=dtype, device=words.device)
    lut = prepared.scale if prepared.lut is None else prepared.lut
    sizes = (words.shape[1], prepared.in_features)
    _expand[words.shape[:2]](words, prepared.scale, lut, weight, *sizes, **_constants(prepared))
    return weight
