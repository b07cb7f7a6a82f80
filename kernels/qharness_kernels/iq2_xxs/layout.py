"""Blocks of IQ2_XXS as tiles that `kernel.cu` and `triton.py` read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from qharness_kernels.iq2_xxs.reference import BYTES, WEIGHTS, codebook, fields
from qharness_kernels.matvec.tiles import ROWS, as_words, byte_words, padded, row_pairs, settled

MAGNITUDES = (8, 25, 43)


@dataclass(frozen=True)
class Prepared:
    """A matrix of tiles.

    Attributes:
        payload: Points (words 0 and 1), signs and bits of steps (2 and 3), shape (tiles, groups of 128 columns, 32, 4),
            int32.
        side: Pairs of d of rows g and g + 8, shape (tiles, superblocks, 8), int32.
        table: What points and sign bytes stand for, shape (256, 2), int32.
        out_features: Rows.
        in_features: Columns.
    """

    payload: Tensor
    side: Tensor
    table: Tensor
    out_features: int
    in_features: int


def supported(kind: str) -> str:
    """Return why the kernels do not take blocks of a GGUF type, as a clause; empty if they do."""
    return "" if kind == "IQ2_XXS" else f"blocks of type {kind} have no kernel, only those of IQ2_XXS"


def prepare(blocks: Tensor) -> Prepared:
    """Return the tiles of rows of blocks, shape (out_features, 66 n), uint8."""
    out_features, superblocks = len(blocks), blocks.shape[1] // BYTES
    parts = fields(blocks.reshape(-1, BYTES))
    # Lane t of four keeps the step of the block of 32 columns t of its 128: bit b of it above the signs of block b.
    steps = parts.steps.view(-1, 2, 1, 4)
    bits = steps >> torch.arange(4, device=blocks.device, dtype=torch.int32)[:, None] & 1
    signs = parts.signs | bits.reshape(-1, 8, 4) << 7
    rows = [padded(part.reshape(out_features, -1), ROWS, 1) for part in (parts.points, signs)]
    payload = torch.cat([byte_words(part) for part in rows], -1)
    side = row_pairs(padded(parts.d.view(out_features, superblocks), ROWS, 1))
    settled((payload, side))
    return Prepared(payload, side, table(blocks.device), out_features, superblocks * WEIGHTS)


@cache
def table(device: torch.device) -> Tensor:
    """Return words of eight four-bit numbers for every point and every sign byte, shape (256, 2), int32.

    A point's number is that of its magnitude, a sign byte's is 4 where the weight is negative; bit 7 of a sign byte
    has no meaning. Weight i lies in bits 4 i.
    """
    book = codebook(torch.device("cpu"))
    places = 4 * torch.arange(8)
    magnitudes = torch.bucketize(book.points.long(), torch.tensor(MAGNITUDES))
    negative = 4 * (book.signs < 0).long().repeat(2, 1)
    with torch.inference_mode(False):
        return as_words(torch.stack([(part << places).sum(1) for part in (magnitudes, negative)], 1)).to(device)
