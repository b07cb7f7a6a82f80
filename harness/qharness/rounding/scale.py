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
def search_scale(
    weight: Tensor,
    hessian: Tensor | None,
    code: Code,
    *,
    start: float,
    order: Order = "natural",
    damping: float = 0.01,
    descent: int = 0,
    rows: int = 128,
    steps: Sequence[Sequence[float]] = (COARSE, FINE),
) -> float:
    """Return the scale s with the least tr(E H E^T), E = W - s round(W / s), on a sample of the rows.

    Error feedback widens what a code sees, so the best scale is not that of the weights' distribution. Rows are
    rounded independently, so all candidates of a step are rounded in one pass, as the rows of one matrix.

    Args:
        weight: Shape (m, n).
        hessian: Shape (n, n); None takes the squared error without feedback.
        code: Code of fixed scale.
        start: Scale around which to search.
        order: Order of the walk.
        damping: As in the rounding.
        descent: Passes of coordinate descent behind each rounding, if the rounding proper is followed by some.
        rows: Rows in the sample, spread evenly; whole tiles are taken.
        steps: Factors tried, step by step around the best so far.
    """
    tiles = weight.float().unflatten(0, (-1, code.tile.rows))
    stride = max(len(tiles) * code.tile.rows // rows, 1)
    sample = tiles[::stride].flatten(0, 1)
    best = start
    for factors in steps:
        scales = torch.tensor([best * factor for factor in factors], device=weight.device)
        targets = sample / scales[:, None, None]
        flat = targets.flatten(0, 1)
        rounded = round_with_feedback(flat, hessian, code, order=order, damping=damping)
        if descent and hessian is not None:
            rounded = coordinate_descent(flat, hessian, code, rounded, iterations=descent, damping=damping)
        error = (targets - rounded.weight.view_as(targets)) * scales[:, None, None]
        image = error if hessian is None else error @ hessian
        best = float(scales[(error * image).sum((1, 2)).argmin()])
    return best
