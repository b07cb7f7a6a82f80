"""IQ4_NL as a code of the rounding loop: sixteen unequal levels times a float16 scale of 32 weights."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from qharness.rounding.code import Tile

BLOCK = 32
TRIALS = 17
WIDEST, NARROWEST = 1.2, 0.6


@cache
def levels(device: torch.device) -> Tensor:
    """Return the levels of the format, ascending, shape (16,), float32, from the `gguf` package."""
    from gguf.quants import IQ4_NL

    return torch.tensor(IQ4_NL.kvalues, dtype=torch.float32, device=device)


def nearest_level(weights: Tensor, scale: Tensor) -> Tensor:
    """Return the index of the level nearest to weights / scale, int64; scale is broadcast and may be negative."""
    table = levels(weights.device)
    middles = (table[1:] + table[:-1]) / 2
    return torch.bucketize(weights / torch.where(scale == 0, 1.0, scale), middles)


class NonlinearCode:
    """Single weights, blocks of 32."""

    tile = Tile(1, 1)
    group = BLOCK
    bits = 4.0

    def __init__(self) -> None:
        self.scales: dict[int, Tensor] = {}

    def begin_group(self, index: int, weights: Tensor, importance: Tensor) -> None:
        """Fit the scale of block `index`."""
        self._scale = self.scales[index] = fit_nonlinear(weights, importance)

    def encode(self, weights: Tensor) -> Tensor:
        """Return the levels of a column, shape (rows,), uint8."""
        return nearest_level(weights[:, 0], self._scale).to(torch.uint8)

    def decode(self, indices: Tensor) -> Tensor:
        """Return the weights of a column, shape (rows, 1)."""
        return (levels(indices.device)[indices.long()] * self._scale)[:, None]

    def table(self) -> Tensor:
        """Return the scales, shape (rows, blocks)."""
        return torch.stack([self.scales[index] for index in sorted(self.scales)], 1)


@torch.no_grad()
def fit_nonlinear(weights: Tensor, importance: Tensor) -> Tensor:
    """Return the float16 scale of one block in every row with the least weighted error, shape (rows,), float32.

    Args:
        weights: Shape (rows, 32), float32.
        importance: Shape (32,).
    """
    mean = importance.mean()
    w = importance.clamp_min(float(mean) * 1e-6) if mean > 0 else torch.ones_like(importance)
    table = levels(weights.device)
    largest = weights.abs().argmax(1, keepdim=True)
    # The levels reach further on the negative side, so that the sign of the scale matters.
    reach = weights.gather(1, largest)[:, 0] / table[0]
    best, least = torch.zeros_like(reach), torch.full_like(reach, torch.inf)
    for sign in (1, -1):
        for factor in torch.linspace(WIDEST, NARROWEST, TRIALS).tolist():
            scale = reach * (factor * sign)
            points = table[nearest_level(weights, scale[:, None])]
            scale = (weights * points) @ w / (points.square() @ w).clamp_min(1e-30)
            scale = scale.half().float()
            error = (table[nearest_level(weights, scale[:, None])] * scale[:, None] - weights).square() @ w
            best = torch.where(error < least, scale, best)
            least = torch.minimum(error, least)
    return best
