"""IQ2_XXS as a code of the rounding loop."""

from __future__ import annotations

import torch
from torch import Tensor

from qharness.rounding.code import Tile
from qharness_iq2_xxs.codebook import Distances, Words, decode_words
from qharness_iq2_xxs.superblock import SUBBLOCK, SUPERBLOCK, BlockScales, fit_superblock
from qharness_kernels.iq2_xxs.reference import VECTOR

SIGNS = 128


class LatticeCode:
    """Vectors of eight weights, superblocks of 256; the loop must walk in natural order."""

    tile = Tile(1, VECTOR)
    group = SUPERBLOCK
    bits = 15 / 8

    def __init__(self) -> None:
        self.scales: dict[int, BlockScales] = {}

    def begin_group(self, index: int, weights: Tensor, importance: Tensor) -> None:
        """Fit the scales of superblock `index`."""
        self.scales[index] = fit_superblock(weights, importance)
        self._values = self.scales[index].values()
        self._importance = importance.view(-1, VECTOR)
        self._next = 0

    def encode(self, weights: Tensor) -> Tensor:
        """Return the code words of the next eight columns, point * 128 + sign, shape (rows,), int32."""
        tile = self._next
        self._next += 1
        self._scale = self._values[:, tile * VECTOR // SUBBLOCK]
        distances = Distances(weights, self._importance[tile])
        point = distances.nearest(self._scale)
        return (point * SIGNS + distances.signs(point)).int()[:, 0]

    def decode(self, indices: Tensor) -> Tensor:
        """Return the weights of the columns encoded last, shape (rows, 8)."""
        return decode_words(split_words(indices)) * self._scale[:, None]

    def table(self) -> BlockScales:
        """Return the scales of all superblocks: d of shape (rows, superblocks), l of (rows, superblocks, 8)."""
        found = [self.scales[index] for index in sorted(self.scales)]
        return BlockScales(torch.stack([part.d for part in found], 1), torch.stack([part.steps for part in found], 1))


def split_words(indices: Tensor) -> Words:
    """Return point and sign of code words as `LatticeCode.encode` returns them."""
    return Words(indices.long() // SIGNS, indices.long() % SIGNS)
