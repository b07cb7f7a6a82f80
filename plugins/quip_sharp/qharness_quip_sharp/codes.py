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

    The second code is not chosen behind the first alone: with the residual's code fixed, the first is chosen again
    for what is left, as long as that helps.

    Args:
        bits: 2, 3 or 4.
    """

    tile, group = Tile(1, 8), 0

    def __init__(self, bits: int) -> None:
        self.bits = float(bits)
        self._bits = bits

    def begin_group(self, index: int, weights: Tensor, importance: Tensor) -> None:
        """Do nothing: the scale is fixed."""

    def encode(self, weights: Tensor) -> Tensor:
        """Return the code words of vectors of shape (rows, 8): int16, shape (rows, 1), or (rows, 2) with residuals."""
        if self._bits == 2:
            return e8p_encode(weights)[:, None]
        best = self._pair(weights, e8p_encode(weights))
        error = (weights - self.decode(best)).square().sum(1)
        again = self._pair(weights, e8p_encode(weights - self.decode_residual(best[:, 1])))
        better = (weights - self.decode(again)).square().sum(1) < error
        return torch.where(better[:, None], again, best)

    def _pair(self, weights: Tensor, first: Tensor) -> Tensor:
        residual = (weights - e8p_decode(first)) * RESIDUAL_SCALE[self._bits]
        second = e8p_encode(residual) if self._bits == 4 else e8_encode(residual)
        return torch.stack([first, second.to(torch.int16)], 1)

    def decode(self, indices: Tensor) -> Tensor:
        """Return the vectors of code words of shape (rows, 1 or 2): shape (rows, 8), float32."""
        points = e8p_decode(indices[..., 0])
        return points if self._bits == 2 else points + self.decode_residual(indices[..., 1])

    def decode_residual(self, indices: Tensor) -> Tensor:
        """Return what the residual's code words add, shape (*indices.shape, 8)."""
        points = e8p_decode(indices) if self._bits == 4 else e8_codebook(indices.device)[indices.long()]
        return points / RESIDUAL_SCALE[self._bits]
