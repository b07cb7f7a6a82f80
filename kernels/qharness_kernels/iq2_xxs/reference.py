"""Blocks of IQ2_XXS in torch, as a GGUF file holds them.

A block of 66 bytes is 256 weights of a row: a float16 d, then for every 32 weights four numbers of points and a word of
four times seven bits of signs and a step l of four bits. A weight is d (1/2 + l) / 4 times a magnitude times a sign.
The points and the table of signs are those of the file format; they are read from the `gguf` package.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

VECTOR = 8
"""Weights that one code word encodes."""
WEIGHTS, BYTES = 256, 66
"""Weights and bytes of a block."""


class Codebook(NamedTuple):
    """Magnitudes of the points, shape (256, 8), and rows of signs, shape (128, 8), entries +1 and -1; float32."""

    points: Tensor
    signs: Tensor


@cache
def codebook(device: torch.device) -> Codebook:
    """Return the code book on a device."""
    from gguf.quants import IQ2_XXS

    IQ2_XXS.init_grid()
    with torch.inference_mode(False):
        points = torch.tensor(IQ2_XXS.grid).reshape(-1, VECTOR).float()
        bits = torch.tensor(list(IQ2_XXS.ksigns))[:, None] >> torch.arange(VECTOR) & 1
        return Codebook(points.to(device), (1 - 2 * bits).float().to(device))


class Fields(NamedTuple):
    """What blocks hold: d (n,), float16; points and signs (n, 8, 4); steps (n, 8); int32."""

    d: Tensor
    points: Tensor
    signs: Tensor
    steps: Tensor


def fields(blocks: Tensor) -> Fields:
    """Return what blocks hold, of shape (n, 66), uint8."""
    d = blocks[:, :2].contiguous().view(torch.float16)[:, 0]
    body = blocks[:, 2:].unflatten(1, (8, 8))
    second = body[..., 4:].contiguous().view(torch.int32)
    signs = second >> 7 * torch.arange(4, device=blocks.device, dtype=torch.int32) & 127
    return Fields(d, body[..., :4].int(), signs, second[..., 0] >> 28 & 15)


def decode_blocks(blocks: Tensor) -> Tensor:
    """Return the 256 weights of each block of shape (n, 66), uint8: shape (n, 256), float32."""
    book, parts = codebook(blocks.device), fields(blocks)
    points = book.points[parts.points.long()] * book.signs[parts.signs.long()]
    scale = parts.d.float()[:, None] * ((parts.steps + 0.5) / 4)
    return (points * scale[..., None, None]).flatten(1)


def dequantize(blocks: Tensor) -> Tensor:
    """Return the weights of rows of blocks, shape (out_features, 66 n), uint8: (out_features, 256 n), float32."""
    return decode_blocks(blocks.reshape(-1, BYTES)).view(len(blocks), -1)


def matmul(x: Tensor, blocks: Tensor) -> Tensor:
    """Return x W^T, shape (rows, out_features), float32."""
    return x.float() @ dequantize(blocks).T
