"""Rows of blocks, byte for byte as GGUF files hold them, from what the codes found."""

from __future__ import annotations

import torch
from torch import Tensor

from qharness_iq2_xxs.affine import AffineScales
from qharness_iq2_xxs.lattice import split_words
from qharness_iq2_xxs.superblock import SUBBLOCK, SUPERBLOCK, BlockScales
from qharness_kernels.iq2_xxs.reference import VECTOR

SIGN_BITS = 7
STEP_SHIFT = 28


def pack_iq2_xxs(indices: Tensor, scales: BlockScales) -> Tensor:
    """Return 66 bytes per 256 weights: d, then per 32 weights four point indices and a word of signs and step.

    Args:
        indices: Code words, shape (rows, columns / 8).
        scales: d of shape (rows, superblocks), l of shape (rows, superblocks, 8).

    Returns:
        Shape (rows, bytes), uint8.
    """
    words = split_words(indices.unflatten(1, (-1, SUPERBLOCK // SUBBLOCK, SUBBLOCK // VECTOR)))
    shifts = SIGN_BITS * torch.arange(SUBBLOCK // VECTOR, device=indices.device)
    second = (words.sign << shifts).sum(-1) | scales.steps << STEP_SHIFT
    body = torch.cat([words.point, _bytes_of(second)], -1).to(torch.uint8).flatten(2)
    return torch.cat([_half(scales.d), body], -1).flatten(1)


def pack_q2_k(codes: Tensor, scales: AffineScales) -> Tensor:
    """Return 84 bytes per 256 weights: steps, codes, d, dmin."""
    steps = (scales.scale | scales.minimum << 4).to(torch.uint8)
    halves = codes.long().unflatten(1, (-1, 2, 4, 32))
    shifts = 2 * torch.arange(4, device=codes.device)
    body = (halves << shifts[:, None]).sum(-2).to(torch.uint8).flatten(2)
    return torch.cat([steps, body, _half(scales.d), _half(scales.dmin)], -1).flatten(1)


def pack_q4_k(codes: Tensor, scales: AffineScales) -> Tensor:
    """Return 144 bytes per 256 weights: d, dmin, twelve bytes of steps, codes."""
    return torch.cat([_head(scales), _nibbles(codes)], -1).flatten(1)


def pack_q5_k(codes: Tensor, scales: AffineScales) -> Tensor:
    """Return 176 bytes per 256 weights: d, dmin, twelve bytes of steps, the fifth bits of the codes, the other four."""
    shifts = torch.arange(8, device=codes.device)[:, None]
    fifth = (codes.long().unflatten(1, (-1, 8, 32)) >> 4 << shifts).sum(-2).to(torch.uint8)
    return torch.cat([_head(scales), fifth, _nibbles(codes & 15)], -1).flatten(1)


def _head(scales: AffineScales) -> Tensor:
    """Return d, dmin and the steps of 8 sub-blocks, six bits each, shape (rows, superblocks, 16)."""
    low, high = scales.scale.split(4, -1), scales.minimum.split(4, -1)
    mixed = (low[1] & 15) | (high[1] & 15) << 4
    steps = torch.cat([low[0] | low[1] >> 4 << 6, high[0] | high[1] >> 4 << 6, mixed], -1).to(torch.uint8)
    return torch.cat([_half(scales.d), _half(scales.dmin), steps], -1)


def _nibbles(codes: Tensor) -> Tensor:
    """Return two codes of four bits a byte, 32 apart, shape (rows, superblocks, 128)."""
    pairs = codes.unflatten(1, (-1, 4, 2, 32))
    return (pairs[..., 0, :] | pairs[..., 1, :] << 4).flatten(2)


def pack_iq4_nl(codes: Tensor, scales: Tensor) -> Tensor:
    """Return 18 bytes per 32 weights: d, codes."""
    pairs = codes.unflatten(1, (-1, 2, 16))
    return torch.cat([_half(scales), pairs[..., 0, :] | pairs[..., 1, :] << 4], -1).flatten(1)


def _half(values: Tensor) -> Tensor:
    """Return float16 numbers as bytes, shape (..., 2)."""
    return values.half().contiguous()[..., None].view(torch.uint8)


def _bytes_of(words: Tensor) -> Tensor:
    """Return the four bytes of 32-bit words, the lowest first, shape (..., 4), int64."""
    return words[..., None] >> 8 * torch.arange(4, device=words.device) & 255
