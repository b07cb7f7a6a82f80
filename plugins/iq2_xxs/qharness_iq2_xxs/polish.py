"""Coordinate descent on the layer's output error inside the same blocks, once all code words are chosen.

Superblock by superblock its float16 scale, its eight steps and its 32 code words are chosen anew, each with all other
choices fixed; a change is made only where it lowers tr(E H E^T) of its row, so no pass makes a row worse.

Source of the passes over code words: Tseng et al., QuIP#, arXiv 2402.04396, section 4.1 (there with a lattice that
needs no scales).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from qharness_iq2_xxs.codebook import Distances, Words, decode_words
from qharness_iq2_xxs.lattice import SIGNS, split_words
from qharness_iq2_xxs.superblock import STEPS, SUBBLOCK, SUPERBLOCK, BlockScales, as_stored, step_factor
from qharness_kernels.iq2_xxs.reference import VECTOR

CANDIDATES = 8
"""Code words, nearest by the diagonal of the Hessian, that are judged by all of it."""


class Blocks(NamedTuple):
    """A matrix of IQ2_XXS: code words as `LatticeCode` returns them, shape (rows, columns / 8), and scales."""

    indices: Tensor
    scales: BlockScales

    def values(self) -> Tensor:
        """Return the scale of every sub-block, shape (rows, columns / 32)."""
        return (self.scales.d[:, :, None] * step_factor(self.scales.steps)).flatten(1)

    def decode(self) -> Tensor:
        """Return the weights, shape (rows, columns), float32."""
        scale = self.values().repeat_interleave(SUBBLOCK // VECTOR, 1)
        return (decode_words(split_words(self.indices)) * scale[:, :, None]).flatten(1)


@torch.no_grad()
def polish(weight: Tensor, hessian: Tensor, blocks: Blocks, *, passes: int, damping: float) -> Blocks:
    """Return blocks with no more output error in any row.

    Args:
        weight: Weights before rounding, shape (rows, columns).
        hessian: Shape (columns, columns).
        blocks: Where to start.
        passes: Passes over the columns.
        damping: Fraction of the mean diagonal added to the diagonal, as in the rounding.
    """
    damped = hessian.float().clone()
    damped.diagonal().add_(damping * damped.diagonal().mean())
    work = _Descent(weight.float(), damped, blocks)
    for _ in range(passes):
        for superblock in range(weight.shape[1] // SUPERBLOCK):
            work.scale(superblock)
            for sub in range(SUPERBLOCK // SUBBLOCK):
                work.step(superblock, sub)
                first = (superblock * SUPERBLOCK + sub * SUBBLOCK) // VECTOR
                for tile in range(first, first + SUBBLOCK // VECTOR):
                    work.words(tile, superblock, sub)
    return Blocks(work.indices, BlockScales(work.d, work.steps))


class _Descent:
    """The state: blocks, their weights, and the gradient (W - Q) H, kept up to date."""

    def __init__(self, weight: Tensor, hessian: Tensor, blocks: Blocks) -> None:
        self.hessian = hessian
        self.indices = blocks.indices.clone()
        self.d, self.steps = blocks.scales.d.clone(), blocks.scales.steps.clone()
        self.rounded = blocks.decode()
        self.gradient = (weight - self.rounded) @ hessian

    def scale(self, superblock: int) -> None:
        """Move d to the best float16 number for the rest of the superblock as it is."""
        columns = slice(superblock * SUPERBLOCK, (superblock + 1) * SUPERBLOCK)
        now = self.rounded[:, columns]
        slope = (self.gradient[:, columns] * now).sum(1)
        curvature = ((now @ self.hessian[columns, columns]) * now).sum(1)
        old = self.d[:, superblock]
        new = as_stored(old * (1 + slope / curvature.clamp_min(1e-30)).clamp(0.5, 2))
        change = torch.where(old > 0, new / old.clamp_min(1e-30) - 1, torch.zeros_like(old))
        change = torch.where(change.square() * curvature < 2 * change * slope, change, torch.zeros_like(change))
        self.d[:, superblock] = torch.where(change == 0, old, new)
        self._move(columns, now * change[:, None])

    def step(self, superblock: int, sub: int) -> None:
        """Choose the best of the sixteen steps of a sub-block for its code words as they are."""
        start = superblock * SUPERBLOCK + sub * SUBBLOCK
        columns = slice(start, start + SUBBLOCK)
        now, old = self.rounded[:, columns], self.steps[:, superblock, sub]
        slope = (self.gradient[:, columns] * now).sum(1)
        curvature = ((now @ self.hessian[columns, columns]) * now).sum(1)
        changes = step_factor(torch.arange(STEPS, device=old.device)) / step_factor(old)[:, None] - 1
        gains = 2 * changes * slope[:, None] - changes.square() * curvature[:, None]
        gain, best = gains.max(1)
        best = torch.where(gain > 0, best, old)
        self.steps[:, superblock, sub] = best
        self._move(columns, now * changes.gather(1, best[:, None]))

    def words(self, tile: int, superblock: int, sub: int) -> None:
        """Choose the best code word of eight columns among the nearest ones."""
        columns = slice(tile * VECTOR, (tile + 1) * VECTOR)
        own, gradient, now = self.hessian[columns, columns], self.gradient[:, columns], self.rounded[:, columns]
        scale = self.d[:, superblock] * step_factor(self.steps[:, superblock, sub])
        target = now + torch.linalg.solve(own, gradient, left=False)
        distances = Distances(target, own.diagonal())
        point = distances.nearest(scale, CANDIDATES)
        sign = distances.signs(point)
        offers = decode_words(Words(point, sign)) * scale[:, None, None]
        change = offers - now[:, None]
        gains = 2 * (change * gradient[:, None]).sum(-1) - ((change @ own) * change).sum(-1)
        gain, best = gains.max(1, keepdim=True)
        better = gain > 0
        chosen = (point * SIGNS + sign).gather(1, best).int()
        self.indices[:, tile] = torch.where(better, chosen, self.indices[:, tile : tile + 1])[:, 0]
        move = change.gather(1, best[:, :, None].expand(-1, -1, VECTOR))[:, 0]
        self._move(columns, torch.where(better, move, torch.zeros_like(move)))

    def _move(self, columns: slice, change: Tensor) -> None:
        self.rounded[:, columns] += change
        self.gradient -= change @ self.hessian[columns]
