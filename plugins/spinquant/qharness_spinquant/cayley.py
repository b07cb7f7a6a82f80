"""Gradient descent on orthogonal matrices by the Cayley transform, and the way back to them."""

from __future__ import annotations

import torch
from torch import Tensor


def cayley_step(rotation: Tensor, gradient: Tensor, rate: float) -> Tensor:
    """Return the rotation after one step of descent along the Stiefel manifold, of one matrix or a batch.

    With W = G R^T - R G^T the skew-symmetric direction, R <- (I + a/2 W)^-1 (I - a/2 W) R is orthogonal again. The
    length a is the rate, but at most 1 / |W|_1 as in the authors' code. The linear system is solved exactly, where
    they run five fixed-point iterations.

    Args:
        rotation: Shape (..., n, n), orthogonal.
        gradient: Gradient of the loss, same shape.
        rate: Learning rate.

    Source: Li, Fuxin, Todorovic, Efficient Riemannian Optimization on the Stiefel Manifold via the Cayley Transform,
    arXiv 2002.01113, section 3 and algorithm 1.
    """
    skew = gradient @ rotation.transpose(-1, -2)
    skew = (skew - skew.transpose(-1, -2)) / 2
    norm = skew.abs().sum(-2).amax(-1).clamp_min(1e-30)
    length = torch.minimum(torch.full_like(norm, rate), 1 / norm)[..., None, None]
    half = length / 2 * skew
    identity = torch.eye(rotation.shape[-1], dtype=rotation.dtype, device=rotation.device)
    return torch.linalg.solve(identity + half, (identity - half) @ rotation)


def polar(matrix: Tensor) -> Tensor:
    """Return the nearest orthogonal matrix in float64, of one matrix or a batch: U V^T of its singular vectors."""
    u, _, v = torch.linalg.svd(matrix.double())
    return u @ v
