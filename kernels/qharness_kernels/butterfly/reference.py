"""Butterfly transforms of a last dimension, in torch, differentiable.

B = C_K kron (G_{m-1} ... G_1 G_0) with n = K * 2^m: x is viewed as (K, 2^m). Stage l turns every pair of coordinates
(i, i + 2^l) of the second axis by an angle of its own, (a, b) -> (a cos t - b sin t, a sin t + b cos t), and the
orthogonal matrix C_K = (I - A)(I + A)^-1, A skew-symmetric, acts on the first axis.

With all angles pi/4 and C_K = I, a power of two gives the orthonormal Hadamard matrix times diag((-1)^popcount(i)).

Source: ButterflyQuant, arXiv 2509.09679, equations 7 and 14.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Split(NamedTuple):
    """n = k * 2^stages with k odd."""

    k: int
    stages: int

    @property
    def angles(self) -> tuple[int, int]:
        """Shape of the angles."""
        return self.stages, (1 << self.stages) // 2

    @property
    def skew(self) -> int:
        """Number of free entries of A."""
        return self.k * (self.k - 1) // 2


def butterfly_split(n: int) -> Split:
    """Return the odd factor and the number of stages of a size."""
    stages = (n & -n).bit_length() - 1
    return Split(n >> stages, stages)


def cayley(skew: Tensor, k: int) -> Tensor:
    """Return (I - A)(I + A)^-1, orthogonal, shape (k, k).

    Args:
        skew: Entries of A above the diagonal, row by row, shape (k (k - 1) / 2,), float32 or float64.
        k: Order.
    """
    rows, columns = torch.triu_indices(k, k, 1, device=skew.device)
    upper = skew.new_zeros(k, k).index_put((rows, columns), skew)
    a = upper - upper.T
    identity = torch.eye(k, dtype=skew.dtype, device=skew.device)
    return torch.linalg.solve(identity + a, identity - a, left=False)


def butterfly_transform(x: Tensor, angles: Tensor, skew: Tensor, inverse: bool = False) -> Tensor:
    """Apply B, or its transpose, to the last dimension.

    Args:
        x: Shape (..., n), floating point; narrower types than float32 are computed in float32.
        angles: Shape (m, 2^(m-1)): row l holds the angles of stage l, in the order of the pairs' first coordinates.
        skew: Shape (k (k - 1) / 2,).
        inverse: Apply B^T, the exact inverse.

    Returns:
        Shape (..., n), dtype of x.

    Raises:
        ValueError: The parameters are not of the sizes that n asks for.
    """
    n = x.shape[-1]
    split = butterfly_split(n)
    if tuple(angles.shape) != split.angles or tuple(skew.shape) != (split.skew,):
        raise ValueError(
            f"A butterfly of {n} has angles of shape {split.angles} and {split.skew} skew entries, "
            f"not {tuple(angles.shape)} and {tuple(skew.shape)}."
        )
    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    work = x.to(dtype).reshape(-1, split.k, 1 << split.stages)
    cosines, sines = angles.to(dtype).cos(), angles.to(dtype).sin()
    if inverse:
        sines = -sines
    factor = cayley(skew.to(dtype), split.k) if split.k > 1 else None
    for stage in reversed(range(split.stages)) if inverse else range(split.stages):
        pairs = work.unflatten(2, (-1, 2, 1 << stage))
        cosine, sine = (row[stage].view(-1, 1 << stage) for row in (cosines, sines))
        a, b = pairs[..., 0, :], pairs[..., 1, :]
        work = torch.stack([a * cosine - b * sine, a * sine + b * cosine], -2).flatten(2)
    if factor is not None:
        work = torch.matmul(factor.T if inverse else factor, work)
    return work.reshape(x.shape).to(x.dtype)


def butterfly_dense(angles: Tensor, skew: Tensor, n: int) -> Tensor:
    """Return B as a dense matrix, shape (n, n), float64; `butterfly_transform(x)` equals `x @ B.T`."""
    identity = torch.eye(n, dtype=torch.float64, device=angles.device)
    return butterfly_transform(identity, angles.double(), skew.double()).T.contiguous()
