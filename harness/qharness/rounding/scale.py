"""Search the scale of a matrix for a code without scales of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qharness.rounding.code import Code
from qharness.rounding.descent import coordinate_descent
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.order import Order

COARSE = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
FINE = (0.925, 0.95, 0.975, 1.0, 1.025, 1.05, 1.075)


@torch.no_grad()
def search_scales(
    weights: Sequence[Tensor],
    hessian: Tensor | None,
    code: Code,
    *,
    starts: Sequence[float],
    order: Order = "natural",
    damping: float = 0.01,
    descent: int = 0,
    rows: int = 128,
    steps: Sequence[Sequence[float]] = (COARSE, FINE),
) -> list[float]:
    """Return for each matrix the scale s with the least tr(E H E^T), E = W - s round(W / s), on a sample of its rows.

    Error feedback widens what a code sees, so the best scale is not that of the weights' distribution. Rows are
    rounded independently, so all candidates of a step of all matrices are rounded in one pass, as the rows of one.

    Args:
        weights: Matrices with the same input, shapes (m, n).
        hessian: Shape (n, n); None takes the squared error without feedback.
        code: Code of fixed scale.
        starts: Scale around which to search, of each matrix.
        order: Order of the walk.
        damping: As in the rounding.
        descent: Passes of coordinate descent behind each rounding, if the rounding proper is followed by some.
        rows: Rows in each sample, spread evenly; whole tiles are taken.
        steps: Factors tried, step by step around the best so far.
    """
    samples = [_sample(weight.float(), code.tile.rows, rows) for weight in weights]
    best = list(starts)
    for factors in steps:
        scales = [torch.tensor([own * factor for factor in factors], device=weights[0].device) for own in best]
        targets = [sample / own[:, None, None] for sample, own in zip(samples, scales, strict=True)]
        flat = torch.cat([target.flatten(0, 1) for target in targets])
        rounded = round_with_feedback(flat, hessian, code, order=order, damping=damping)
        if descent and hessian is not None:
            rounded = coordinate_descent(flat, hessian, code, rounded, iterations=descent, damping=damping)
        parts = rounded.weight.split([target.shape[0] * target.shape[1] for target in targets])
        for index, (target, own, found) in enumerate(zip(targets, scales, parts, strict=True)):
            error = (target - found.view_as(target)) * own[:, None, None]
            image = error if hessian is None else error @ hessian
            best[index] = float(own[(error * image).sum((1, 2)).argmin()])
    return best


def _sample(weight: Tensor, tile: int, rows: int) -> Tensor:
    tiles = weight.unflatten(0, (-1, tile))
    return tiles[:: max(len(weight) // rows, 1)].flatten(0, 1)
