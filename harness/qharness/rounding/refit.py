"""Refit the scales of a grid by least squares once the codes are chosen."""

from __future__ import annotations

import torch
from torch import Tensor

from qharness.rounding.grid import GridSpec, Scales, storable

ROWS_AT_ONCE = 2**26


@torch.no_grad()
def refit_scales(
    weight: Tensor, hessian: Tensor, codes: Tensor, scales: Scales, spec: GridSpec, damping: float = 0.01
) -> Scales:
    """Return the scales (and float16 zeros) that minimise tr(E H E^T) for codes and packed zeros as they are.

    With v the codes less their zeros, a row of weights is sum_g s_g v_g, so the best s solves the normal equations
    (V H V^T) s = V H w of that row, V holding v_g on the columns of group g. Where zeros are float16, the row is
    sum_g s_g c_g + t_g 1_g, with the offset t_g = -s_g z_g free as well.

    Args:
        weight: Weights before rounding, shape (rows, columns).
        hessian: Shape (columns, columns).
        codes: Shape (rows, columns).
        scales: Scales and zeros found by the rounding, each of shape (rows, groups).
        spec: The grid.
        damping: As in the rounding.
    """
    rows, columns = weight.shape
    groups = scales.scale.shape[1]
    damped = hessian.float().clone()
    damped.diagonal().add_(damping * damped.diagonal().mean())
    has_offsets = spec.grid == "asymmetric" and spec.zeros == "float16"
    centred = codes.float().view(rows, groups, -1)
    if not has_offsets:
        centred = centred - scales.zero[:, :, None]
    found = [
        _solve(part, damped, values, scales.scale[start : start + len(part)], has_offsets)
        for start, part, values in _chunks(weight.float(), centred, columns)
    ]
    scale = torch.cat([s for s, _ in found])
    # A refitted scale of the wrong sign or size would turn codes around: such groups keep theirs.
    sane = torch.isfinite(scale) & (scale > scales.scale / 4) & (scale < scales.scale * 4)
    kept = storable(torch.where(sane, scale, scales.scale))
    if not has_offsets:
        return Scales(kept, scales.zero)
    zero = -torch.cat([t for _, t in found]) / scale
    return Scales(kept, torch.where(sane, zero, scales.zero).half().float())


def _chunks(weight: Tensor, values: Tensor, columns: int) -> list[tuple[int, Tensor, Tensor]]:
    step = max(ROWS_AT_ONCE // (columns * 4), 1)
    return [
        (start, weight[start : start + step], values[start : start + step]) for start in range(0, len(weight), step)
    ]


def _solve(weight: Tensor, hessian: Tensor, values: Tensor, scale: Tensor, has_offsets: bool) -> tuple[Tensor, Tensor]:
    rows, groups, size = values.shape
    basis = [values, torch.ones_like(values)] if has_offsets else [values]
    target = weight @ hessian
    by_group = hessian.view(groups, size, -1)
    normal = torch.zeros(rows, len(basis) * groups, len(basis) * groups, device=weight.device)
    right = torch.cat([(target.view(values.shape) * vectors).sum(-1) for vectors in basis], 1)
    for i, left in enumerate(basis):
        for group in range(groups):
            image = (left[:, group] @ by_group[group]).view(values.shape)
            row = torch.cat([(image * vectors).sum(-1) for vectors in basis], 1)
            normal[:, i * groups + group] = row
    ridge = 1e-6 * normal.diagonal(dim1=1, dim2=2).mean(1)
    normal.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
    solution, info = torch.linalg.solve_ex(normal.double(), right.double())
    solution = torch.where(info[:, None] == 0, solution, torch.nan).float()
    return solution[:, :groups], solution[:, groups:] if has_offsets else torch.zeros_like(scale)


@torch.no_grad()
def refit_rows(weight: Tensor, hessian: Tensor | None, rounded: Tensor) -> Tensor:
    """Return the factor of each row of `rounded` that minimises tr(E H E^T), shape (rows,), float32.

    s_i = (w_i H q_i) / (q_i H q_i); rows for which this is no positive number keep 1.

    Args:
        weight: Weights before rounding, shape (rows, columns).
        hessian: Shape (columns, columns); None takes the squared error.
        rounded: Weights after rounding, shape (rows, columns).
    """
    image = rounded.float() if hessian is None else rounded.float() @ hessian
    factor = (weight.float() * image).sum(1) / (rounded.float() * image).sum(1)
    return torch.where(torch.isfinite(factor) & (factor > 0), factor, 1.0)


@torch.no_grad()
def unbiased_rows(weight: Tensor, hessian: Tensor, rounded: Tensor) -> Tensor:
    """Return the factor of each row of `rounded` that keeps the size of its output, shape (rows,), float32.

    Least squares shrinks: the best rounded row q has w H q = q H q < w H w, so that outputs come out smaller by the
    relative error, in every layer the same way. s_i = (w_i H w_i) / (w_i H q_i) takes that back, for a slightly larger
    squared error. Rows for which this is not between 2/3 and 3/2 keep 1.

    Args:
        weight: Weights before rounding, shape (rows, columns).
        hessian: Shape (columns, columns), or its diagonal, shape (columns,).
        rounded: Weights after rounding, shape (rows, columns).
    """
    image = weight.float() * hessian if hessian.dim() == 1 else weight.float() @ hessian
    factor = (image * weight).sum(1) / (image * rounded).sum(1)
    return torch.where((factor > 2 / 3) & (factor < 3 / 2), factor, 1.0)
