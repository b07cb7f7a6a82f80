"""Conjugate gradients for least squares whose unknowns are several tensors, such as the codebooks of a matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Tensors = Sequence[Tensor]


@torch.no_grad()
def conjugate_gradients(
    apply: Callable[[Tensors], Tensors],
    start: Tensors,
    residual: Tensors,
    precondition: Callable[[Tensors], Tensors],
    *,
    iterations: int,
    tolerance: float,
) -> list[Tensor]:
    """Return x with A x = b, or as near to it as the iterations come.

    Args:
        apply: Multiplies with A, symmetric and positive semi-definite.
        start: First x.
        residual: b - A x for it.
        precondition: Multiplies with an approximate inverse of A.
        iterations: Most products with A.
        tolerance: Stop when the preconditioned residual's square has fallen by this factor.

    Source: Shewchuk, An Introduction to the Conjugate Gradient Method, 1994, appendix B3.
    """
    found, rest = list(start), list(residual)
    step = list(precondition(rest))
    size = first = _inner(rest, step)
    for _ in range(iterations):
        if not size > tolerance * first:
            break
        image = apply(step)
        curvature = _inner(step, image)
        if not curvature > 0:
            break
        length = size / curvature
        found = [x + length * s for x, s in zip(found, step, strict=True)]
        rest = [r - length * i for r, i in zip(rest, image, strict=True)]
        scaled = precondition(rest)
        before, size = size, _inner(rest, scaled)
        step = [z + size / before * s for z, s in zip(scaled, step, strict=True)]
    return found


def _inner(left: Tensors, right: Tensors) -> float:
    return sum(float((a * b).sum(dtype=torch.float64)) for a, b in zip(left, right, strict=True))
