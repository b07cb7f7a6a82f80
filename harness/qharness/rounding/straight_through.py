"""Quantization with gradients that pass straight through the rounding."""

from __future__ import annotations

import torch
from torch import Tensor

CLIP = {"midrise": {2: 0.60, 3: 0.72}, "asymmetric": {2: 0.60, 3: 0.75}, "symmetric": {2: 0.65, 3: 0.75}}
"""Range of a group's grid as a fraction of its largest weight: least squared error on Gaussian groups of 64."""


def straight_through(x: Tensor) -> Tensor:
    """Return x rounded to integers; its gradient is that of x."""
    return x + (x.round() - x).detach()


def quantize_weights(weight: Tensor, bits: int, group: int, grid: str) -> Tensor:
    """Return the weight on its grid, with a fixed clipping ratio in place of the search; differentiable.

    Args:
        weight: Shape (rows, columns).
        bits: Bits per weight.
        group: Columns per group; divides the columns.
        grid: `midrise`, `asymmetric` or `symmetric`.
    """
    groups = weight.unflatten(1, (-1, group))
    top, clip = 2**bits - 1, CLIP[grid].get(bits, 0.9)
    if grid == "asymmetric":
        low, high = groups.amin(-1, True).clamp(max=0) * clip, groups.amax(-1, True).clamp(min=0) * clip
        scale = (high - low).clamp_min(1e-12) / top
        zero = straight_through(-low / scale)
    else:
        scale = groups.abs().amax(-1, True).clamp_min(1e-12) * clip / (top / 2)
        zero = torch.full_like(scale, top / 2 if grid == "midrise" else 2 ** (bits - 1))
    codes = straight_through(groups / scale + zero).clamp(0, top)
    return ((codes - zero) * scale).flatten(1)
