"""Additive codes as the kernels read them.

With g = lane / 4 and t = lane % 4, lane 4 g + t of a warp holds, for every 32 inputs, the codes of rows g and g + 8 of
a tile of 16 rows for inputs 8 t to 8 t + 7, sixteen bits each. Four such words, for 128 inputs, are one load.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 8
SIDE, CHUNK, LANES = 16, 128, 32
MOST_BITS = {1: 16, 2: 8}


@dataclass(frozen=True)
class Prepared:
    """A repacked matrix of additive codes.

    Attributes:
        words: Shape (ceil(out / 16), ceil(in / 128), 32, 4), int32.
        codebooks: Shape (M, 2^bits, 8), float16.
        scales: Shape (out,), float16.
        out_features: Outputs.
        in_features: Inputs.
    """

    words: Tensor
    codebooks: Tensor
    scales: Tensor
    out_features: int
    in_features: int

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return self.codebooks.shape[1].bit_length() - 1


def supported(codebooks: Tensor) -> str:
    """Return why the kernels cannot decode codes of such codebooks, as a clause; empty if they can."""
    books, count, group = codebooks.shape
    bits = count.bit_length() - 1
    if group != GROUP:
        return f"the codebook kernels decode groups of {GROUP} inputs, not {group}"
    if bits > MOST_BITS.get(books, 0):
        return f"the codebook kernels decode one book of up to 16 bits or two of up to 8, not {books} of {bits}"
    return ""


def prepare(codes: Tensor, codebooks: Tensor, scales: Tensor) -> Prepared:
    """Return the matrix as the kernels read it.

    Args:
        codes: Shape (out, in / 8, M), any integer type, 0 .. 2^bits - 1.
        codebooks: Shape (M, 2^bits, 8).
        scales: Shape (out,).

    Raises:
        ValueError: The kernels cannot decode it.
    """
    reason = supported(codebooks)
    if reason:
        raise ValueError(reason)
    rows, groups, books = codes.shape
    halves = codes[..., 0].int()
    if books == 2:
        halves = halves | codes[..., 1].int() << 8
    halves = torch.nn.functional.pad(halves, (0, -groups % (CHUNK // GROUP), 0, -rows % SIDE))
    placed = halves.unflatten(1, (-1, 4, 4)).unflatten(0, (-1, 2, 8))
    words = placed[:, 0] | placed[:, 1] << 16
    lanes = words.permute(0, 2, 1, 4, 3).flatten(2, 3).contiguous()
    made = Prepared(lanes, codebooks.half().contiguous(), scales.half().contiguous(), rows, groups * GROUP)
    if made.words.is_cuda:
        # Kernels read the words before they wait for the kernel in front of them.
        torch.cuda.current_stream(made.words.device).synchronize()
    return made
