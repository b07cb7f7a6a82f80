"""The rounding loop: every error-feedback method is this walk with its own code."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qharness.errors import UsageError
from qharness.rounding.code import Code, MetricCode
from qharness.rounding.factor import inverse_factor
from qharness.rounding.order import Order, column_order


@dataclass(frozen=True)
class Rounded:
    """What the loop found.

    Attributes:
        weight: Decoded weights, shape (rows, columns), float32.
        indices: One `Code.encode` result per tile of columns, stacked in dimension 1 in the matrix's order;
            shape (rows, columns) for a grid.
        damping: Fraction of the mean diagonal that was added in the end.
    """

    weight: Tensor
    indices: Tensor
    damping: float


@torch.no_grad()
def round_with_feedback(
    weight: Tensor,
    hessian: Tensor | None,
    code: Code,
    *,
    order: Order = "natural",
    damping: float = 0.01,
    block: int = 128,
) -> Rounded:
    """Round a matrix tile by tile and feed each tile's error forward to the columns not yet rounded.

    For a tile b of columns the error is E = W_b - Q_b and the rest takes W_> -= E U_bb^-1 U_b>, with
    U^T U the inverse of the damped Hessian: GPTQ for tiles of one column, block LDLQ for wider ones.

    Args:
        weight: Shape (rows, columns); not changed.
        hessian: Mean of x x^T, shape (columns, columns). Its diagonal alone, shape (columns,), or None for ones, rounds
            to nearest without feedback; codes are still told the importance.
        code: Code to round with; its scales are fitted on the updated weights at the start of each group.
        order: Order of the walk.
        damping: Fraction of the mean diagonal added to the diagonal.
        block: Columns updated eagerly; errors reach the columns beyond it once per block.

    Raises:
        UsageError: The tile or group does not divide the matrix.
        IndefiniteHessian: The Hessian cannot be factored.

    Source: Frantar et al., GPTQ, arXiv 2210.17323, algorithm 1; Chee et al., QuIP, arXiv 2307.13304, theorem 6
    (equivalence with LDLQ); Tseng et al., QuIP#, arXiv 2402.04396, section 4.1 (blocks).
    """
    rows, columns = weight.shape
    tile, group = code.tile.columns, code.group or columns
    if rows % code.tile.rows or columns % tile or columns % group or group % tile:
        raise UsageError(
            f"A matrix of {rows} x {columns} cannot be cut into tiles of {code.tile.rows} x {tile} "
            f"and groups of {group} columns."
        )
    device = weight.device
    if hessian is None:
        hessian = torch.ones(columns, device=device)
    diagonal = (hessian if hessian.dim() == 1 else hessian.diagonal()).float()
    walk = column_order(diagonal, order, group, tile)
    work = weight.float()[:, walk]
    diagonal = diagonal[walk]
    factor = None
    if hessian.dim() == 2:
        factor = inverse_factor(hessian[walk][:, walk], damping)
    decoded = torch.empty_like(work)
    found: list[Tensor] = []
    for start, stop in _spans(columns, group, tile, block):
        errors = torch.zeros(rows, stop - start, device=device)
        for left in range(start, stop, tile):
            right = left + tile
            if left % group == 0:
                code.begin_group(int(walk[left]) // group, work[:, left : left + group], diagonal[left : left + group])
            if factor is not None and isinstance(code, MetricCode):
                code.begin_tile(torch.cholesky_inverse(factor.upper[left:right, left:right], upper=True))
            indices = code.encode(work[:, left:right])
            decoded[:, left:right] = code.decode(indices)
            found.append(indices)
            if factor is not None:
                error = work[:, left:right] - decoded[:, left:right]
                own = factor.upper[left:right, left:right]
                error = error / own if tile == 1 else torch.linalg.solve_triangular(own, error, upper=True, left=False)
                work[:, right:stop] -= error @ factor.upper[left:right, right:stop]
                errors[:, left - start : right - start] = error
        if factor is not None:
            work[:, stop:] -= errors @ factor.upper[start:stop, stop:]
    back = walk.argsort()
    tiles = (walk[::tile] // tile).argsort()
    return Rounded(decoded[:, back], torch.stack(found, 1)[:, tiles], factor.damping if factor else 0.0)


def _spans(columns: int, group: int, tile: int, block: int) -> list[tuple[int, int]]:
    """Cut the columns into spans of about `block`; a group lies in one span, or begins with one."""
    if group <= block:
        length = block // group * group
        return [(start, min(start + length, columns)) for start in range(0, columns, length)]
    length = max(block // tile, 1) * tile
    return [
        (start, min(start + length, first + group))
        for first in range(0, columns, group)
        for start in range(first, first + group, length)
    ]


def proxy_loss(weight: Tensor, rounded: Tensor, hessian: Tensor) -> float:
    """Return tr(E H E^T) / tr(W H W^T) with E = weight - rounded: the relative error of the layer's output.

    Args:
        weight: Shape (rows, columns).
        rounded: Shape (rows, columns).
        hessian: Shape (columns, columns).
    """
    weight = weight.float()
    error = weight - rounded.float()
    return float(((error @ hessian) * error).sum() / ((weight @ hessian) * weight).sum().clamp_min(1e-30))
