"""Q2_K, Q4_K and Q5_K as codes of the rounding loop: uniform grids whose scales and minima are themselves quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from qharness.rounding.code import Tile
from qharness_iq2_xxs.superblock import SUPERBLOCK, as_stored

SHRINKS = 12
SMALLEST_SHRINK = 0.5


@dataclass(frozen=True)
class AffineSpec:
    """A type of the K family: w = d * scale * code - dmin * minimum.

    Attributes:
        bits: Bits per code.
        sub: Weights that share a scale and a minimum.
        scale_bits: Bits of each of these.
    """

    bits: int
    sub: int
    scale_bits: int


Q2_K = AffineSpec(bits=2, sub=16, scale_bits=4)
Q4_K = AffineSpec(bits=4, sub=32, scale_bits=6)
Q5_K = AffineSpec(bits=5, sub=32, scale_bits=6)


class AffineScales(NamedTuple):
    """Scales of superblocks: d and dmin, shape (rows,), float32; steps of each sub-block, shape (rows, subs), int64."""

    d: Tensor
    dmin: Tensor
    scale: Tensor
    minimum: Tensor


class AffineCode:
    """Single weights, superblocks of 256.

    Args:
        spec: The type.
    """

    tile = Tile(1, 1)
    group = SUPERBLOCK

    def __init__(self, spec: AffineSpec) -> None:
        self.spec = spec
        self.bits = float(spec.bits)
        self.scales: dict[int, AffineScales] = {}

    def begin_group(self, index: int, weights: Tensor, importance: Tensor) -> None:
        """Fit scales and minima of superblock `index`."""
        found = fit_affine(weights, importance, self.spec)
        self.scales[index] = found
        self._scale, self._minimum = found.d[:, None] * found.scale, found.dmin[:, None] * found.minimum
        self._next = 0

    def encode(self, weights: Tensor) -> Tensor:
        """Return the codes of the next column, shape (rows,), uint8."""
        self._sub = self._next // self.spec.sub
        self._next += 1
        scale, minimum = self._scale[:, self._sub], self._minimum[:, self._sub]
        codes = (weights[:, 0] + minimum) / torch.where(scale > 0, scale, 1.0)
        return codes.round().clamp(0, 2**self.spec.bits - 1).to(torch.uint8)

    def decode(self, indices: Tensor) -> Tensor:
        """Return the weights of the column encoded last, shape (rows, 1)."""
        return (indices.float() * self._scale[:, self._sub] - self._minimum[:, self._sub])[:, None]

    def table(self) -> AffineScales:
        """Return the scales of all superblocks, stacked in dimension 1."""
        found = [self.scales[index] for index in sorted(self.scales)]
        return AffineScales(*(torch.stack(parts, 1) for parts in zip(*found, strict=True)))


@torch.no_grad()
def fit_affine(weights: Tensor, importance: Tensor, spec: AffineSpec) -> AffineScales:
    """Return the scales of one superblock in every row.

    Each sub-block tries shrunken ranges, refits scale and minimum by weighted least squares, and keeps the best; the
    results are then rounded to steps of the superblock's largest.

    Args:
        weights: Shape (rows, 256), float32.
        importance: Shape (256,).
        spec: The type.
    """
    x = weights.view(len(weights), -1, spec.sub)
    mean = importance.mean()
    flat = importance.clamp_min(float(mean) * 1e-6) if mean > 0 else torch.ones_like(importance)
    w = flat.view(-1, spec.sub)
    top = 2**spec.bits - 1
    low, high = x.amin(-1).clamp(max=0), x.amax(-1)
    scale, minimum = ((high - low) / top).clamp_min(1e-12), -low
    least = torch.full_like(scale, torch.inf)
    best = (scale, minimum)
    for shrink in torch.linspace(1, SMALLEST_SHRINK, SHRINKS).tolist():
        tried, down = scale * shrink, minimum * shrink
        codes = ((x + down[..., None]) / tried[..., None]).round().clamp(0, top)
        tried, down = _least_squares(x, w, codes, tried, down)
        codes = ((x + down[..., None]) / tried[..., None]).round().clamp(0, top)
        error = ((codes * tried[..., None] - down[..., None] - x).square() * w).sum(-1)
        wins = error < least
        least = torch.minimum(error, least)
        best = (torch.where(wins, tried, best[0]), torch.where(wins, down, best[1]))
    steps = 2**spec.scale_bits - 1
    d, dmin = (as_stored(part.amax(1) / steps) for part in best)
    rounded = [
        (part / unit.clamp_min(1e-30)[:, None]).round().clamp(0, steps).long()
        for part, unit in zip(best, (d, dmin), strict=True)
    ]
    return AffineScales(d, dmin, rounded[0], rounded[1])


def _least_squares(x: Tensor, w: Tensor, codes: Tensor, scale: Tensor, minimum: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale > 0 and minimum >= 0 that fit x to codes * scale - minimum."""
    weight = w.sum(-1)
    c, cc = (w * codes).sum(-1), (w * codes.square()).sum(-1)
    xs, xc = (w * x).sum(-1), (w * x * codes).sum(-1)
    determinant = weight * cc - c.square()
    solvable = determinant > 1e-6 * weight * cc
    safe = torch.where(solvable, determinant, 1.0)
    new, down = (weight * xc - xs * c) / safe, (c * xc - cc * xs) / safe
    new = torch.where(down < 0, xc / cc.clamp_min(1e-30), new)
    valid = solvable & (new > 0)
    return torch.where(valid, new, scale), torch.where(valid, down.clamp_min(0), minimum)
