"""E8P12 in torch: code words to points, and the nearest point exactly (on a GPU by `e8p.nearest`, in Triton).

The points are those of D8 + 1/2 (coordinates with halves and an even sum) whose absolute values are one of 256
patterns, shifted by +1/4 or -1/4 on all coordinates: 2^16 of them, a subset of a shifted E8 lattice.

A code word has the pattern's number in its high byte and signs in its low one. The parity of the low byte is the
shift: even +1/4, odd -1/4, and then its bit 0 is turned around. After that bit i is the sign of coordinate
COORDINATES[i]; the sign of coordinate 7 is turned around where the pattern's sum is odd, which makes every sum even.

Source: Tseng et al., QuIP#, arXiv 2402.04396, section 4.2.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from itertools import product

import numpy as np
import torch
from torch import Tensor

from qharness_kernels.e8p.patterns import COORDINATES, FREE, abs_patterns, pattern_numbers

SHIFT = 0.25
CHUNK = 1 << 14
# The patterns of squared length at most 10, up to order: what is added to 1/2 at the largest coordinates.
CLASSES = ((), (1,), (1, 1), (1, 1, 1), (2,), (1, 1, 1, 1), (2, 1))


@cache
def _codebook(device: torch.device) -> Tensor:
    codes = np.arange(1 << 16)
    patterns = abs_patterns().astype(np.float32)[codes >> 8] / 2
    low = codes & 255
    is_odd = np.bitwise_count(low.astype(np.uint8)) & 1
    low = low ^ is_odd
    flips = np.empty((len(codes), 8), dtype=np.int64)
    for bit, coordinate in enumerate(COORDINATES):
        flips[:, coordinate] = (low >> bit) & 1
    flips[:, 7] ^= patterns.sum(1).astype(np.int64) & 1
    points = patterns * (1 - 2 * flips) + np.where(is_odd, -SHIFT, SHIFT)[:, None]
    with torch.inference_mode(False):
        return torch.from_numpy(points.astype(np.float32)).to(device)


def e8p_codebook(device: torch.device | str = "cpu") -> Tensor:
    """Return the points of all code words, shape (65536, 8), float32."""
    return _codebook(torch.device(device))


def e8p_decode(codes: Tensor) -> Tensor:
    """Return the points of code words.

    Args:
        codes: Integers of any type of 16 bits or more, any shape; of int16 the bits count, not the sign.

    Returns:
        Shape (*codes.shape, 8), float32.
    """
    return e8p_codebook(codes.device)[codes.long() & 0xFFFF]


def e8p_encode(x: Tensor) -> Tensor:
    """Return the code words of the nearest points, exactly.

    For each shift, |u - s p|^2 with u = x - shift has to be least over patterns p and signs s whose sum is even. Free
    signs would follow u; where they give an odd sum, one sign is turned, and best that of the smallest p_i |u_i|. The
    patterns of length up to 10 are all orders of seven sorted ones, so the best order gives the largest values to
    the largest |u_i|, and the sign turned is that of the smallest: seven sums decide among 227 patterns. The other 29
    are tried one by one, where a bound says that they could win.

    Args:
        x: Shape (..., 8), floating point.

    Returns:
        Shape x.shape[:-1], int16 (the bits of the unsigned code word).
    """
    flat = x.reshape(-1, 8).float()
    if x.device.type == "cuda" and find_spec("triton") is not None:
        from qharness_kernels.e8p.nearest import nearest_codes

        return nearest_codes(flat).view(x.shape[:-1])
    parts = [_encode(part) for part in flat.split(CHUNK)]
    return (torch.cat(parts) if parts else flat.new_zeros(0, dtype=torch.int16)).view(x.shape[:-1])


def _encode(x: Tensor) -> Tensor:
    codes, distances = _nearest_even(torch.cat([x - SHIFT, x + SHIFT]))
    (plus, minus), (plus_distance, minus_distance) = codes.view(2, -1), distances.view(2, -1)
    code = torch.where(plus_distance <= minus_distance, plus, minus ^ 1)
    return (code - ((code >> 15) << 16)).to(torch.int16)


def _nearest_even(u: Tensor) -> tuple[Tensor, Tensor]:
    """Return code words of the nearest points without a shift, int64 with an even low byte, and their distances."""
    absolute, is_negative = u.abs(), u < 0
    ordered, order = absolute.sort(dim=1, descending=True)
    parity = is_negative.sum(1) & 1
    # Twice the inner product with (1/2, ..., 1/2) if all signs follow u, and what turning the smallest one costs.
    half, turn = absolute.sum(1), 2 * ordered[:, 7]
    sums = ordered[:, :5].cumsum(1)
    digits, lengths, is_odd = _classes(u.device)
    free = half[:, None] + 2 * ordered[:, :4] @ digits.T.float() - lengths
    scores = free - torch.where(parity[:, None] == is_odd, 0.0, turn[:, None])
    score, best = scores.max(1)
    digits = digits[best]
    pattern = torch.zeros_like(order).scatter_(1, order[:, :4], digits)
    turned = torch.where(parity == (digits.sum(1) & 1), 8, order[:, 7])
    bound = half + 2 * sums[:, 4] - 12 - torch.where(parity == 1, 0.0, turn)
    rare = torch.nonzero(bound > score)[:, 0]
    if len(rare):
        long, long_score, long_turned = _nearest_long(absolute[rare], half[rare], parity[rare] == 1)
        wins = long_score > score[rare]
        rows = rare[wins]
        pattern[rows], turned[rows], score[rows] = long[wins], long_turned[wins], long_score[wins]
    signs = is_negative.long()
    signs = torch.cat([signs, signs.new_zeros(len(signs), 1)], 1)
    signs.scatter_(1, turned[:, None], 1 - signs.gather(1, turned[:, None]))
    signs = signs[:, :8]
    signs[:, 7] ^= pattern.sum(1) & 1
    number = _numbers(u.device)[(pattern << _pairs(u.device)).sum(1)].long()
    code = (number << 8) + (signs << _bits(u.device)).sum(1)
    return code, u.square().sum(1) - score


def _nearest_long(absolute: Tensor, half: Tensor, is_odd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best of the 29 patterns of length 12: digits, scores, and the coordinate turned (8 for none)."""
    long = _long(absolute.device)
    # Digits are 1 at 3/2 and 0 at 1/2, so the inner product with p is half a sum plus the coordinates at 3/2.
    fit = half[:, None] + 2 * absolute @ long.T.float()
    cost, place = ((1 + 2 * long) * absolute[:, None, :]).min(2)
    scores = fit - 12 - torch.where(is_odd[:, None], 0.0, 2 * cost)
    score, best = scores.max(1)
    turned = torch.where(is_odd, 8, place.gather(1, best[:, None])[:, 0])
    return long[best], score, turned


@cache
def _classes(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Extras of the four largest coordinates by class, shape (7, 4); squared lengths and parities of sums, (7,)."""
    with torch.inference_mode(False):
        digits = torch.tensor([[*extras, 0, 0, 0, 0][:4] for extras in CLASSES], device=device)
        return digits, 2 + ((digits + 0.5) ** 2 - 0.25).sum(1), digits.sum(1) & 1


@cache
def _long(device: torch.device) -> Tensor:
    """The extras of the 29 patterns of length 12, shape (29, 8), int64."""
    with torch.inference_mode(False):
        return torch.from_numpy((abs_patterns()[FREE:].astype(np.int64) - 1) // 2).to(device)


@cache
def _numbers(device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.from_numpy(pattern_numbers()).to(device)


@cache
def _pairs(device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return 2 * torch.arange(8, device=device)


@cache
def _bits(device: torch.device) -> Tensor:
    """Bit of the low byte by coordinate."""
    with torch.inference_mode(False):
        return torch.tensor([COORDINATES.index(i) for i in range(8)], device=device)


@cache
def _e8(device: torch.device) -> Tensor:
    whole = [p for p in product((-1, 0, 1), repeat=8) if sum(map(abs, p)) in (0, 2)]
    halves = [p for p in product((-0.5, 0.5), repeat=8) if sum(p) % 2 == 0]
    far = [[sign * 2 * (i == j) for j in range(8)] for sign in (1, -1) for i in range(8)][:15]
    with torch.inference_mode(False):
        return torch.tensor([*whole, *halves, *far], dtype=torch.float32, device=device)


def e8_codebook(device: torch.device | str = "cpu") -> Tensor:
    """Return the 256 points of E8 that code a residual in one bit per weight, shape (256, 8), float32.

    The origin, the 240 roots (whole coordinates before halves, each in lexicographic order), and 15 of the points
    +-2 e_i (the last, -2 e_7, has no code word left).
    """
    return _e8(torch.device(device))


def e8_encode(x: Tensor) -> Tensor:
    """Return the code words of the nearest of the 256 points of E8, exactly; x.shape[:-1], uint8."""
    points = e8_codebook(x.device)
    flat = x.reshape(-1, 8).float()
    lengths = points.square().sum(1)
    parts = [(2 * part @ points.T - lengths).argmax(1).to(torch.uint8) for part in flat.split(CHUNK)]
    return (torch.cat(parts) if parts else flat.new_zeros(0, dtype=torch.uint8)).view(x.shape[:-1])


def dequantize(codes: Tensor, scales: Tensor, *, in_features: int) -> Tensor:
    """Return scale[i] * point(codes[i, j]), eight weights a code word.

    Args:
        codes: Shape (out_features, ceil(in_features / 8)), int16.
        scales: Shape (out_features,) or (1,), float16.
        in_features: Columns; the last point is cut to them.

    Returns:
        Shape (out_features, in_features), float32.
    """
    return e8p_decode(codes).flatten(1)[:, :in_features] * scales.float()[:, None]


def matmul(x: Tensor, codes: Tensor, scales: Tensor, *, in_features: int) -> Tensor:
    """Return x W^T, shape (rows, out_features), float32."""
    return x.float() @ dequantize(codes, scales, in_features=in_features).T
