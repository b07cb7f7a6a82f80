"""Weights from rows of GGUF blocks, in torch on any device; those of IQ2_XXS are in `qharness_kernels.iq2_xxs`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qharness_iq2_xxs.nonlinear import levels

Decoder = Callable[[Tensor], Tensor]


def decode_q2_k(blocks: Tensor) -> Tensor:
    """Return the 256 weights of each block of 84 bytes, shape (n, 256), float32."""
    steps, d, dmin = blocks[:, :16].long(), _half(blocks[:, 80:82]), _half(blocks[:, 82:84])
    halves = blocks[:, 16:80].long().unflatten(1, (2, 1, 32))
    codes = (halves >> 2 * torch.arange(4, device=blocks.device)[:, None] & 3).reshape(-1, 16, 16)
    return (codes * (d * (steps & 15))[..., None] - (dmin * (steps >> 4))[..., None]).flatten(1)


def decode_q4_k(blocks: Tensor) -> Tensor:
    """Return the 256 weights of each block of 144 bytes, shape (n, 256), float32."""
    return _scaled(_nibbles(blocks[:, 16:]), blocks)


def decode_q5_k(blocks: Tensor) -> Tensor:
    """Return the 256 weights of each block of 176 bytes, shape (n, 256), float32."""
    fifth = blocks[:, None, 16:48].long() >> torch.arange(8, device=blocks.device)[:, None] & 1
    return _scaled(_nibbles(blocks[:, 48:]) + 16 * fifth, blocks)


def _nibbles(raw: Tensor) -> Tensor:
    """Return the codes of four bits, two a byte and 32 apart, shape (n, 8, 32), int64."""
    pairs = raw.long().unflatten(1, (4, 1, 32))
    return (pairs >> 4 * torch.arange(2, device=raw.device)[:, None] & 15).flatten(1, 2)


def _scaled(codes: Tensor, blocks: Tensor) -> Tensor:
    """Return the weights of codes of shape (n, 8, 32), from d, dmin and the six-bit steps at the blocks' beginning."""
    d, dmin = _half(blocks[:, :2]), _half(blocks[:, 2:4])
    low, high, mixed = blocks[:, 4:16].long().split(4, 1)
    scale = torch.cat([low & 63, mixed & 15 | low >> 6 << 4], 1)
    minimum = torch.cat([high & 63, mixed >> 4 | high >> 6 << 4], 1)
    return (codes * (d * scale)[..., None] - (dmin * minimum)[..., None]).flatten(1)


def decode_iq4_nl(blocks: Tensor) -> Tensor:
    """Return the 32 weights of each block of 18 bytes, shape (n, 32), float32."""
    codes = torch.cat([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], 1).long()
    return levels(blocks.device)[codes] * _half(blocks[:, :2])


def _half(raw: Tensor) -> Tensor:
    """Return the float16 number in two bytes as float32, shape (n, 1)."""
    return raw.contiguous().view(torch.float16).float()
