"""Matrices of additive codes in Triton, without inline machine code: what runs where the CUDA kernels do not."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from qharness_kernels.codebook.layout import SIDE, Prepared


@triton.jit
def _weights(words, codebooks, tile, chunk, chunks, BOOKS: tl.constexpr, BITS: tl.constexpr) -> tl.tensor:
    """Return a chunk of a tile, shape (16, 128), float32, without the outputs' scales."""
    row = tl.arange(0, 16)[:, None]
    k = tl.arange(0, 128)[None, :]
    lane = row % 8 * 4 + k % 32 // 8
    word = tl.load(words + (tile * chunks + chunk) * 128 + lane * 4 + k // 32)
    half = (word >> (row // 8 * 16)) & 0xFFFF
    if BOOKS == 1:
        value = tl.load(codebooks + half * 8 + k % 8).to(tl.float32)
    else:
        value = tl.load(codebooks + (half & 255) * 8 + k % 8).to(tl.float32)
        value += tl.load(codebooks + ((1 << BITS) + (half >> 8)) * 8 + k % 8).to(tl.float32)
    return value


@triton.jit
def _expand(
    words,
    codebooks,
    scales,
    weight,
    chunks,
    in_features,
    out_features,
    BOOKS: tl.constexpr,
    BITS: tl.constexpr,
) -> None:
    """Write a chunk of a tile of the matrix."""
    tile = tl.program_id(0)
    chunk = tl.program_id(1)
    row = (tile * 16 + tl.arange(0, 16)[:, None]).to(tl.int64)
    scale = tl.load(scales + row, mask=row < out_features, other=0.0).to(tl.float32)
    value = _weights(words, codebooks, tile, chunk, chunks, BOOKS, BITS) * scale
    k = chunk * 128 + tl.arange(0, 128)[None, :]
    is_there = (row < out_features) & (k < in_features)
    tl.store(weight + row * in_features + k, value.to(weight.dtype.element_ty), mask=is_there)


@triton.jit
def _multiply(
    x,
    words,
    codebooks,
    scales,
    y,
    rows,
    chunks,
    in_features,
    out_features,
    BOOKS: tl.constexpr,
    BITS: tl.constexpr,
) -> None:
    """Write the products of 16 rows of activations with a tile."""
    tile = tl.program_id(0)
    row = tl.program_id(1) * 16 + tl.arange(0, 16)[:, None]
    total = tl.zeros((16, 16), tl.float32)
    for chunk in range(chunks):
        k = chunk * 128 + tl.arange(0, 128)[None, :]
        inputs = tl.load(x + row * in_features + k, mask=(row < rows) & (k < in_features), other=0.0)
        value = _weights(words, codebooks, tile, chunk, chunks, BOOKS, BITS)
        total += tl.dot(inputs, tl.trans(value).to(x.dtype.element_ty))
    column = tile * 16 + tl.arange(0, 16)[None, :]
    scale = tl.load(scales + column, mask=column < out_features, other=0.0).to(tl.float32)
    result = (total * scale).to(y.dtype.element_ty)
    tl.store(y + row * out_features + column, result, mask=(row < rows) & (column < out_features))


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T.

    Args:
        x: Shape (rows, in_features), float16 or bfloat16.
        prepared: The matrix, on the same device.

    Returns:
        Shape (rows, out_features), in the type of `x`.
    """
    y = torch.empty(len(x), prepared.out_features, dtype=x.dtype, device=x.device)
    words, books = prepared.words, prepared.codebooks
    sizes = (len(x), words.shape[1], prepared.in_features, prepared.out_features)
    if len(x):
        _multiply[(len(words), triton.cdiv(len(x), SIDE))](
            x.contiguous(), words, books, prepared.scales, y, *sizes, BOOKS=len(books), BITS=prepared.bits
        )
    return y


def dequantize(prepared: Prepared, dtype: torch.dtype) -> Tensor:
    """Return the matrix, shape (out_features, in_features).

    Args:
        prepared: The matrix.
        dtype: float16, bfloat16 or float32.
    """
    words, books = prepared.words, prepared.codebooks
    weight = torch.empty(prepared.out_features, prepared.in_features, dtype=dtype, device=words.device)
    sizes = (words.shape[1], prepared.in_features, prepared.out_features)
    _expand[words.shape[:2]](words, books, prepared.scales, weight, *sizes, BOOKS=len(books), BITS=prepared.bits)
    return weight
