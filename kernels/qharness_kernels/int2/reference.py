"""Two-bit codes with a scale and a zero for each group of columns, in torch: the layout of `GridLinear`."""

from __future__ import annotations

import torch
from torch import Tensor

CODES = 16
"""Codes of a 32-bit word."""


def unpacked(words: Tensor, count: int) -> Tensor:
    """Return the codes of little-endian words along the last dimension, shape (..., count), uint8."""
    shifts = 2 * torch.arange(CODES, device=words.device, dtype=torch.int32)
    return (words[..., None] >> shifts & 3).to(torch.uint8).flatten(-2)[..., :count]


def zero_points(scales: Tensor, zeros: Tensor | None, zero: float | None) -> Tensor:
    """Return the zero of every row and group, shape (out_features, groups), float32.

    Args:
        scales: Shape (out_features, groups).
        zeros: int32 (groups, words), packed along the rows; float16 (out_features, groups); None for one constant.
        zero: The constant.
    """
    if zeros is None:
        return torch.full(scales.shape, float(zero or 0), device=scales.device)
    return unpacked(zeros, len(scales)).T.float() if zeros.dtype == torch.int32 else zeros.float()


def dequantize(
    codes: Tensor, scales: Tensor, zeros: Tensor | None, g_idx: Tensor | None, *, group: int, zero: float | None = None
) -> Tensor:
    """Return scale[i, g] * (code[i, j] - zero[i, g]), g = g_idx[j] or j // group.

    Args:
        codes: Shape (out_features, words), int32, 16 codes a word along the columns.
        scales: Shape (out_features, groups), float16.
        zeros: As in `zero_points`.
        g_idx: Group of each column, shape (in_features,); None for runs of `group` columns.
        group: Columns of a group.
        zero: The zero where `zeros` is None.

    Returns:
        Shape (out_features, in_features), float32.
    """
    count = scales.shape[1] * group
    owner = torch.arange(count, device=codes.device) // group if g_idx is None else g_idx.long()
    points = zero_points(scales, zeros, zero)
    return (unpacked(codes, count).float() - points[:, owner]) * scales.float()[:, owner]


def matmul(
    x: Tensor,
    codes: Tensor,
    scales: Tensor,
    zeros: Tensor | None,
    g_idx: Tensor | None,
    *,
    group: int,
    zero: float | None = None,
) -> Tensor:
    """Return x W^T, shape (rows, out_features), float32."""
    return x.float() @ dequantize(codes, scales, zeros, g_idx, group=group, zero=zero).T
