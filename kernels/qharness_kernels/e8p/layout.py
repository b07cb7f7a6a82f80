"""Code words of E8P as tiles that `kernel.cu` and `triton.py` read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from qharness_kernels.e8p.patterns import COORDINATES, abs_patterns
from qharness_kernels.matvec.tiles import COLUMNS, ROWS, as_words, byte_words, padded, settled


@dataclass(frozen=True)
class Prepared:
    """A matrix of tiles.

    Attributes:
        payload: Patterns (words 0 and 1) and signs (2 and 3), shape (tiles, groups of 128 columns, 32, 4), int32.
        scales: Shape (out_features,) or (1,), float16.
        table: What patterns and sign bytes stand for, shape (256, 2), int32.
        out_features: Rows.
        in_features: Columns.
    """

    payload: Tensor
    scales: Tensor
    table: Tensor
    out_features: int
    in_features: int


def supported(bits: int, in_features: int) -> str:
    """Return why the kernels do not take a matrix, or an empty string."""
    if bits != 2:
        return f"codes of {bits} bits have no kernel, only those of 2"
    return f"{in_features} columns are not a multiple of 8" if in_features % 8 else ""


def prepare(codes: Tensor, scales: Tensor, *, in_features: int) -> Prepared:
    """Return the tiles of code words; arguments as `reference.dequantize` takes them."""
    words = padded(codes.int() & 0xFFFF, ROWS, COLUMNS // 8)
    payload = torch.cat([byte_words(words >> 8), byte_words(words & 255)], -1)
    scales = scales.half().contiguous()
    settled((payload, scales))
    return Prepared(payload, scales, table(codes.device), len(codes), in_features)


@cache
def table(device: torch.device) -> Tensor:
    """Return words of eight four-bit numbers for every pattern and every sign byte, shape (256, 2), int32.

    The exclusive or of a pattern's and a sign byte's number is n = 2 v + 15 / 2 for the coordinate v. A pattern's is
    2 |p| + 7, which is even, so that the lowest bit is free for the shift: set for +1/4. Turning the three upper bits
    around turns the sign. Coordinate 2 p + e lies in bits 4 p + 16 e.
    """
    places = np.array([4 * (i // 2) + 16 * (i % 2) for i in range(8)])
    patterns = abs_patterns().astype(np.int64)
    numbers = patterns + 7
    numbers[:, 7] ^= np.where(patterns.sum(1) // 2 % 2 == 1, 14, 0)
    signs = np.arange(256)
    is_odd = np.bitwise_count(signs.astype(np.uint8)).astype(np.int64) & 1
    flips = np.empty((256, 8), dtype=np.int64)
    for bit, coordinate in enumerate(COORDINATES):
        flips[:, coordinate] = ((signs ^ is_odd) >> bit) & 1
    masks = 14 * flips + (1 - is_odd)[:, None]
    pair = np.stack([(numbers << places).sum(1), (masks << places).sum(1)], 1)
    with torch.inference_mode(False):
        return as_words(torch.from_numpy(pair)).to(device)
