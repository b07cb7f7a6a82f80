"""The triangular factor through which rounding errors are fed forward."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from qharness.errors import QharnessError

DAMPING_STEPS = 4


class IndefiniteHessian(QharnessError):
    """A Hessian has no Cholesky factor even with strong damping."""


class Factor(NamedTuple):
    """Upper-triangular U with U^T U = H^-1, shape (n, n) float32, and the damping that it took."""

    upper: Tensor
    damping: float


def inverse_factor(hessian: Tensor, damping: float) -> Factor:
    """Return the upper Cholesky factor of the inverse of H + damping * mean(diag H) * I.

    The factor is found without inverting H: with P the reversal of rows and columns and P H P = L L^T,
    U = (P L P)^-1. Tried in float32, then float64, then with ten times the damping, and so on.

    Args:
        hessian: Symmetric positive semi-definite, shape (n, n).
        damping: Fraction of the mean diagonal that is added to the diagonal.

    Raises:
        IndefiniteHessian: No damping up to 10^4 times the given one (at least 10^-6) helps, or H is not finite.

    Source: Frantar et al., GPTQ, arXiv 2210.17323, section 3.3, step 3.
    """
    if not torch.isfinite(hessian).all():
        raise IndefiniteHessian("The Hessian holds NaN or infinity; check the calibration text and the model's dtype.")
    mean = float(hessian.diagonal().mean())
    if mean <= 0:
        return Factor(torch.eye(len(hessian), device=hessian.device), damping)
    used = damping
    for _ in range(DAMPING_STEPS + 1):
        for dtype in (torch.float32, torch.float64):
            matrix = hessian.to(dtype, copy=True)
            matrix.diagonal().add_(used * mean)
            lower, info = torch.linalg.cholesky_ex(matrix.flip(0, 1))
            if int(info) == 0:
                identity = torch.eye(len(matrix), dtype=dtype, device=matrix.device)
                upper = torch.linalg.solve_triangular(lower.flip(0, 1), identity, upper=True)
                if torch.isfinite(upper).all():
                    return Factor(upper.float(), used)
        used = max(used, 1e-6) * 10
    raise IndefiniteHessian(
        f"The Hessian is not positive definite even with damping {used / 10:g}; "
        "use more calibration text or a higher damping."
    )
