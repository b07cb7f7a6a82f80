"""The lattice codes of QuIP# as codes of the rounding loop, at scale 1."""

from __future__ import annotations

import torch
from torch import Tensor

from qharness.rounding.code import Tile
from qharness_kernels.e8p import e8_codebook, e8_encode, e8p_decode, e8p_encode

# What unit normal weights are multiplied with before they are coded, and the residual besides.
# Source: Tseng et al., QuIP#, arXiv 2402.04396; the values are those of the public checkpoints.
BEST_SCALE = {2: 1.03, 3: 0.98, 4: 1.03}
RESIDUAL_SCALE = {3: 2.04, 4: 3.45}


class LatticeCode:
    """E8P12, for 3 and 4 bits followed by E8 or E8P of the scaled residual.

    Args:
        bits: 2, 3 or 4.
        residual_scale: What the residual is multiplied with before it is coded; None takes `RESIDUAL_SCALE`.
    """

    tile, group = Tile(1, 8), 0

    def __init__(self, bits: int, residual_scale: float | None = None) -> None:
        self.bits = float(bits)
        self._bits = bits
        self._residual_scale = residual_scale or RESIDUAL_SCALE.get(bits, 1.0)

    def begin_group(self, index: int, weights: Tensor, importance: Tensor) -> None:
        """Do nothing: the scale is fixed."""

    def encode(self, weights: Tensor) -> Tensor:
        """Return the code words of vectors of shape (rows, 8): int16, shape (rows, 1), or (rows, 2) with residuals."""
        first = e8p_encode(weights)
        if self._bits == 2:
            return first[:, None]
        residual = (weights - e8p_decode(first)) * self._residual_scale
        second = e8p_encode(residual) if self._bits == 4 else e8_encode(residual)
        return torch.stack([first, second.to(torch.int16)], 1)

    def decode(self, indices: Tensor) -> Tensor:
        """Return the vectors of code words of shape (rows, 1 or 2): shape (rows, 8), float32."""
        points = e8p_decode(indices[..., 0])
        if self._bits == 2:
            return points
        second = indices[..., 1]
        residual = e8p_decode(second) if self._bits == 4 else e8_codebook(second.device)[second.long()]
        return points + residual / self._residual_scale
