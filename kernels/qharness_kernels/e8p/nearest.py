"""Nearest points of E8P12 in Triton: one launch for all vectors, every pattern of absolute values tried.

For a shifted vector u and a pattern p of absolute values the best signs follow u, which gives 2 p |u| - |p|^2; where
their sum is odd, the sign with the least p_i |u_i| is turned, which takes 4 p_i |u_i| off. So 256 patterns and two
shifts decide, and no vector needs a search of its own.
"""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from qharness_kernels.e8p.patterns import COORDINATES, abs_patterns

ROWS_AT_ONCE = 16


@triton.jit
def _nearest(x, patterns, squares, parities, bits, codes, COUNT, BLOCK: tl.constexpr) -> None:
    """Write the code words of `BLOCK` vectors.

    Args:
        x: Vectors, (COUNT, 8), float32.
        patterns: Absolute values, (8, 256), float32.
        squares: Their squared lengths, (256,), float32.
        parities: 1 where the sum of a pattern is odd, (256,), int32.
        bits: Bit of the low byte for the sign of each coordinate, as a power of two, (8,), int32.
        codes: (COUNT,), int16.
        COUNT: Number of vectors.
        BLOCK: Vectors of a program.
    """
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = rows < COUNT
    number = tl.arange(0, 256)
    length = tl.load(squares + number)
    is_odd = tl.load(parities + number)
    code = tl.zeros((BLOCK,), tl.int32)
    nearest = tl.full((BLOCK,), float("inf"), tl.float32)
    for side in tl.static_range(2):
        shift = 0.25 - 0.5 * side
        score = tl.zeros((BLOCK, 256), tl.float32) - length[None, :]
        least = tl.full((BLOCK, 256), float("inf"), tl.float32)
        negatives = tl.zeros((BLOCK,), tl.int32)
        square = tl.zeros((BLOCK,), tl.float32)
        for i in tl.static_range(8):
            u = tl.load(x + rows * 8 + i, mask=mask, other=0.0) - shift
            part = tl.load(patterns + i * 256 + number)[None, :] * tl.abs(u)[:, None]
            score += 2 * part
            least = tl.minimum(least, part)
            negatives += (u < 0).to(tl.int32)
            square += u * u
        score = tl.where((negatives & 1)[:, None] != is_odd[None, :], score - 4 * least, score)
        best = tl.argmax(score, 1)
        distance = square - tl.max(score, 1)

        # The signs, and which of them is turned.
        word = best.to(tl.int32) * 256
        smallest = tl.full((BLOCK,), float("inf"), tl.float32)
        turned = tl.zeros((BLOCK,), tl.int32)
        for i in tl.static_range(8):
            u = tl.load(x + rows * 8 + i, mask=mask, other=0.0) - shift
            bit = tl.load(bits + i)
            part = tl.load(patterns + i * 256 + best) * tl.abs(u)
            turned = tl.where(part < smallest, bit, turned)
            smallest = tl.minimum(smallest, part)
            word += tl.where(u < 0, bit, 0)
        odd = tl.load(parities + best)
        word = tl.where((negatives & 1) != odd, word ^ turned, word)
        # The last coordinate's sign is stored turned where the pattern is odd, and bit 0 turned for the shift down.
        word = word ^ (odd * tl.load(bits + 7)) ^ side
        code = tl.where(distance < nearest, word, code)
        nearest = tl.minimum(distance, nearest)
    tl.store(codes + rows, code.to(tl.int16), mask=mask)


@cache
def _tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with torch.inference_mode(False):
        doubled = torch.from_numpy(abs_patterns().astype("int32")).to(device)
        patterns = doubled.float() / 2
        bits = torch.tensor([1 << COORDINATES.index(i) for i in range(8)], dtype=torch.int32, device=device)
        squares, parities = patterns.square().sum(1), (doubled.sum(1) // 2 & 1).int()
        return patterns.T.contiguous(), squares, parities, bits


def nearest_codes(x: Tensor) -> Tensor:
    """Return the code words of the nearest points, as `e8p_encode` does: x of shape (n, 8); int16, shape (n,)."""
    x = x.float().contiguous()
    codes = torch.empty(len(x), dtype=torch.int16, device=x.device)
    if len(x):
        programs = triton.cdiv(len(x), ROWS_AT_ONCE)
        _nearest[(programs,)](x, *_tables(x.device), codes, len(x), BLOCK=ROWS_AT_ONCE, num_warps=4)
    return codes
