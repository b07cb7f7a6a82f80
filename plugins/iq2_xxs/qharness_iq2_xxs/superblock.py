"""Scales of a superblock: one float16 and eight steps of four bits, searched together.

Every 32 weights share the scale s = d (1/2 + l) / 4, with d of the superblock and l in 0 .. 15 of the sub-block. All
candidates are judged by the exact weighted error with the nearest code words, which `Distances` gives for any scale
once its tables are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from qharness_iq2_xxs.codebook import Distances
from qharness_kernels.iq2_xxs.reference import VECTOR

SUPERBLOCK = 256
SUBBLOCK = 32
STEPS = 16
VECTORS = SUBBLOCK // VECTOR
LARGEST = 65504.0

CURVE = 24
"""Scales at which the error of each sub-block is sampled, relative to the weighted RMS of its weights."""
SMALLEST_RATIO, LARGEST_RATIO = 0.012, 0.2
TRIALS = 24
"""Candidates for d, relative to the one whose largest step is the largest scale that a sub-block wants."""
SMALLEST_TRIAL, LARGEST_TRIAL = 0.8, 2.2
FINALISTS = 3
REFINEMENTS = 2
TABLE_BYTES = {"cpu": 2 << 20, "cuda": 256 << 20}

_Loss = Callable[[Tensor], Tensor]


class BlockScales(NamedTuple):
    """Scales of superblocks: d, shape (rows,), float32 with a float16 value; l, shape (rows, 8), int64."""

    d: Tensor
    steps: Tensor

    def values(self) -> Tensor:
        """Return the scale of every sub-block, shape (rows, 8)."""
        return self.d[:, None] * step_factor(self.steps)


def step_factor(steps: Tensor) -> Tensor:
    """Return (1/2 + l) / 4."""
    return (steps + 0.5) / 4


def as_stored(d: Tensor) -> Tensor:
    """Return d as float16 keeps it, as float32."""
    return d.clamp(max=LARGEST).half().float()


@torch.no_grad()
def fit_superblock(weights: Tensor, importance: Tensor) -> BlockScales:
    """Return the scales of one superblock in every row.

    Args:
        weights: Shape (rows, 256), float32.
        importance: Weight of each column's squared error, shape (256,); columns of no importance get a little.
    """
    mean = importance.mean()
    importance = importance.clamp_min(float(mean) * 1e-6) if mean > 0 else torch.ones_like(importance)
    found = [_fit(part, importance) for part in _parts(weights)]
    return BlockScales(torch.cat([part.d for part in found]), torch.cat([part.steps for part in found]))


def _parts(weights: Tensor) -> Iterator[Tensor]:
    bytes_per_row = SUPERBLOCK // VECTOR * 256 * 4
    yield from weights.split(max(TABLE_BYTES.get(weights.device.type, 2 << 20) // bytes_per_row, 1))


def _fit(weights: Tensor, importance: Tensor) -> BlockScales:
    rows = len(weights)
    by_vector = importance.view(SUPERBLOCK // VECTOR, VECTOR)
    distances = Distances(weights.view(rows, -1, VECTOR), by_vector)

    def loss(scale: Tensor) -> Tensor:
        """Error of the sub-blocks, (rows, 8), less that of zeros."""
        return distances.least(scale.repeat_interleave(VECTORS, 1)).view(rows, -1, VECTORS).sum(-1)

    power = (weights.square() * importance).view(rows, -1, SUBBLOCK).sum(-1)
    unit = (power / importance.view(-1, SUBBLOCK).sum(-1)).sqrt().clamp_min(1e-12)
    ratios = torch.logspace(0, 1, CURVE, LARGEST_RATIO / SMALLEST_RATIO, device=weights.device) * SMALLEST_RATIO
    curve = torch.stack([loss(unit * ratio) for ratio in ratios], -1)
    wanted = (unit * ratios[curve.argmin(-1)]).amax(1)
    finalists = _finalists(curve, unit, wanted, ratios)
    best, least = BlockScales(torch.zeros(rows, device=weights.device), torch.zeros_like(curve[..., 0]).long()), None
    for trial in finalists:
        tried, value = _best_steps(trial, loss)
        best, least = (tried, value) if least is None else _better(tried, value, best, least)
    assert least is not None
    for _ in range(REFINEMENTS):
        scale = best.values().repeat_interleave(VECTORS, 1)
        point = distances.nearest(scale)
        factor = step_factor(best.steps).repeat_interleave(VECTORS, 1)
        # d by least squares for the code words and steps as they are.
        top = -(distances.slope.gather(-1, point)[..., 0] / 2 * factor).sum(1)
        quadratic = distances.quadratic.expand_as(distances.slope).gather(-1, point)[..., 0]
        bottom = (quadratic * factor.square()).sum(1)
        refined = BlockScales(as_stored(top / bottom.clamp_min(1e-30)), best.steps)
        best, least = _better(*_best_steps(refined, loss), best, least)
    return best


def _finalists(curve: Tensor, unit: Tensor, wanted: Tensor, ratios: Tensor) -> list[BlockScales]:
    """Return the few best superblock scales with their steps, judged by interpolating the sampled errors."""
    factors = torch.logspace(0, 1, TRIALS, LARGEST_TRIAL / SMALLEST_TRIAL, device=unit.device) * SMALLEST_TRIAL
    largest = step_factor(torch.tensor(STEPS - 1.0, device=unit.device))
    d = as_stored(wanted[:, None] / largest * factors)
    steps = step_factor(torch.arange(STEPS, device=unit.device))
    scale = d[:, None, :, None] * steps
    spacing = (ratios[1] / ratios[0]).log()
    place = (scale / (unit[:, :, None, None] * ratios[0])).clamp_min(1e-30).log() / spacing
    low = place.clamp(0, CURVE - 2).floor()
    part = (place - low).clamp(0, 1)
    index = low.long().flatten(2)
    guess = torch.lerp(curve.gather(-1, index), curve.gather(-1, index + 1), part.flatten(2)).view_as(place)
    # Beyond the sampled scales weights are no better than zeros.
    guess = torch.where(place > CURVE - 1, 0.0, guess)
    least, chosen = guess.min(-1)
    order = least.sum(1).topk(FINALISTS, dim=1, largest=False).indices
    return [
        BlockScales(
            d.gather(1, order[:, k : k + 1])[:, 0],
            chosen.gather(2, order[:, None, k : k + 1].expand(-1, chosen.shape[1], 1))[..., 0],
        )
        for k in range(FINALISTS)
    ]


def _best_steps(start: BlockScales, loss: _Loss) -> tuple[BlockScales, Tensor]:
    """Return the best of each sub-block's step and its neighbours, and the error of every row."""
    best, least = start.steps, loss(start.values())
    for shift in (-1, 1):
        trial = BlockScales(start.d, (start.steps + shift).clamp(0, STEPS - 1))
        value = loss(trial.values())
        best = torch.where(value < least, trial.steps, best)
        least = torch.minimum(value, least)
    return BlockScales(start.d, best), least.sum(1)


def _better(tried: BlockScales, value: Tensor, best: BlockScales, least: Tensor) -> tuple[BlockScales, Tensor]:
    wins = value < least
    chosen = BlockScales(torch.where(wins, tried.d, best.d), torch.where(wins[:, None], tried.steps, best.steps))
    return chosen, torch.minimum(value, least)
