"""Hadamard transforms of a last dimension, in torch.

A = (H_K kron H_P) diag(signs) / sqrt(n) with n = K * P and P a power of two: x is viewed as (K, P), H_P acts on the
second axis and H_K on the first. H_P itself is Kronecker: it is applied as dense factors of at most 128, which on
CPUs and GPUs is faster than log2(P) passes of additions over memory.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor

from qharness_kernels.hadamard.factors import Factor, factor, hadamard_matrix
from qharness_kernels.hadamard.public import ORDERS, public_factor, public_matrix

DENSE_POWER = 7
DENSE_SIZE = 256
Family = Literal["generated", "public"]
"""Whose dense factors are taken: those that `hadamard_matrix` generates, or the transposes of those of the public
checkpoints of QuIP# and QTIP, which apply H^T to weights and inputs where artifacts apply H."""


def family_factor(n: int, family: Family = "generated") -> Factor:
    """Split n into k * 2**power as a family does.

    Raises:
        ValueError: The family has no Hadamard map of that size.
    """
    if family == "generated":
        return factor(n)
    order, rest = public_factor(n)
    return Factor(order, rest.bit_length() - 1)


def family_matrix(order: int, family: Family = "generated") -> Tensor:
    """Return the dense factor of an order in a family, shape (order, order), int8."""
    return public_matrix(order).T.contiguous() if family == "public" and order in ORDERS else hadamard_matrix(order)


@cache
def _orthonormal(order: int, transpose: bool, dtype: torch.dtype, device: torch.device, family: Family) -> Tensor:
    # Made outside inference mode: the cached tensor may meet autograd later.
    with torch.inference_mode(False), torch.no_grad():
        matrix = family_matrix(order, family).to(torch.float64) / order**0.5
        return (matrix.T if transpose else matrix).contiguous().to(device=device, dtype=dtype)


@cache
def _dense_block(size: int, dtype: torch.dtype, device: torch.device, family: Family) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return hadamard_dense(size, family=family).to(device=device, dtype=dtype)


def _sizes(n: int, family: Family) -> list[int]:
    """Orders of the Kronecker factors of A, the first acts on the slowest axis."""
    split = family_factor(n, family)
    orders = [split.k] if split.k > 1 else []
    left = split.power
    parts = -(-left // DENSE_POWER)
    for part in range(parts):
        take = -(-left // (parts - part))
        orders.append(1 << take)
        left -= take
    return orders


def _apply(x: Tensor, inverse: bool, family: Family) -> Tensor:
    """Apply A (or its transpose) to the last dimension of x of shape (rows, n), float32 or float64."""
    n = x.shape[-1]
    if n == 1:
        return x
    if n <= DENSE_SIZE:
        matrix = _dense_block(n, x.dtype, x.device, family)
        return x @ (matrix if inverse else matrix.T)
    rows = x.shape[0]
    orders = _sizes(n, family)
    before, after = 1, n
    for order in orders:
        after //= order
        matrix = _orthonormal(order, inverse, x.dtype, x.device, family)
        if after == 1:
            x = x.reshape(-1, order) @ matrix.T
        else:
            x = torch.matmul(matrix, x.reshape(rows * before, order, after))
        before *= order
    return x.reshape(rows, n)


def hadamard_transform(
    x: Tensor,
    block: int | None = None,
    signs: Tensor | None = None,
    inverse: bool = False,
    family: Family = "generated",
) -> Tensor:
    """Apply the orthonormal Hadamard map A to the last dimension.

    Args:
        x: Shape (..., n), floating point. Types narrower than float32 are computed in float32.
        block: Size of the blocks of a block-diagonal map; must divide n. None is one block of size n.
        signs: Shape (n,), entries +1 and -1, multiplied to x before the Hadamard (after it for the inverse).
        inverse: Apply A^T, the exact inverse of A.
        family: Family of the dense factor.

    Returns:
        Shape (..., n), dtype of x.

    Raises:
        ValueError: The block does not divide n, signs have another size, or no matrix of that size is known.
    """
    n = x.shape[-1]
    size = n if block is None else block
    if size < 1 or n % size:
        raise ValueError(f"A block of {size} does not divide the dimension {n}.")
    if signs is not None and signs.shape != (n,):
        raise ValueError(f"The sign vector has shape {tuple(signs.shape)}, the dimension is {n}.")
    work = x if x.dtype in (torch.float32, torch.float64) else x.float()
    flips = None if signs is None else signs.to(device=x.device, dtype=work.dtype)
    if flips is not None and not inverse:
        work = work * flips
    work = _apply(work.reshape(-1, size), inverse, family).reshape(x.shape)
    if flips is not None and inverse:
        work = work * flips
    return work.to(x.dtype)


def hadamard_across(x: Tensor, heads: int) -> Tensor:
    """Apply (H_heads kron I) / sqrt(heads) to the last dimension: every coordinate of a head is mixed over the heads.

    Args:
        x: Shape (..., heads * head_dim), floating point.
        heads: Number of heads.

    Returns:
        Shape and dtype of x.

    Raises:
        ValueError: The heads do not divide the dimension, or no matrix of that size is known.
    """
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError(f"{heads} heads do not divide the dimension {x.shape[-1]}.")
    by_coordinate = x.unflatten(-1, (heads, -1)).transpose(-1, -2)
    return hadamard_transform(by_coordinate).transpose(-1, -2).flatten(-2)


def hadamard_dense(n: int, block: int | None = None, family: Family = "generated") -> Tensor:
    """Return the map of `hadamard_transform` as a dense matrix.

    Args:
        n: Size of the dimension.
        block: Size of the blocks of a block-diagonal map; None is one block.
        family: Family of the dense factor.

    Returns:
        A, shape (n, n), float64, A A^T = I; `hadamard_transform(x)` equals `x @ A.T`.
    """
    size = n if block is None else block
    if size < 1 or n % size:
        raise ValueError(f"A block of {size} does not divide the dimension {n}.")
    split = family_factor(size, family)
    whole = torch.kron(family_matrix(split.k, family).double(), hadamard_matrix(1 << split.power).double()) / size**0.5
    return torch.block_diag(*[whole] * (n // size)) if n > size else whole
