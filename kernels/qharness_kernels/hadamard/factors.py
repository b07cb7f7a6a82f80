"""Hadamard matrices of many orders, generated: Sylvester, Paley I and II, Williamson and Kronecker products.

A Hadamard matrix H of order n has entries +1 and -1 and H H^T = n I. Nothing here is read from a table of
matrices, so that an artifact needs to name only its order. Constructions: Sylvester (1867); Paley, J. Math. Phys.
12 (1933); Williamson, Duke Math. J. 11 (1944).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qharness_kernels.hadamard.fields import prime_power, quadratic_character
from qharness_kernels.hadamard.williamson import williamson_rows

Matrix = NDArray[np.int8]
LARGEST_GENERATED = 2048


class Factor(NamedTuple):
    """A size n = k * 2**power with a Hadamard matrix of order k that can be generated."""

    k: int
    power: int

    @property
    def size(self) -> int:
        """The size n."""
        return self.k << self.power


@cache
def factor(n: int) -> Factor:
    """Split n into k * 2**power with the smallest constructible k.

    Args:
        n: Size of a dimension, positive.

    Raises:
        ValueError: No factor of n is an order that can be constructed; use block-diagonal blocks of 128.
    """
    if n < 1:
        raise ValueError(f"A Hadamard transform needs a positive size, not {n}.")
    odd, power = n, 0
    while odd % 2 == 0:
        odd, power = odd // 2, power + 1
    if odd == 1:
        return Factor(1, power)
    for taken in range(2, power + 1):
        if _recipe(odd << taken) is not None:
            return Factor(odd << taken, power - taken)
    remedy = "use block-diagonal blocks of 128 (block=128)" if n % 128 == 0 else "use a block that divides it"
    raise ValueError(f"No Hadamard matrix for size {n} = {odd} * 2^{power} can be constructed; {remedy}.")


class _Recipe(NamedTuple):
    method: str
    parameter: int


@cache
def _recipe(order: int) -> _Recipe | None:
    if order in (1, 2):
        return _Recipe("sylvester", order)
    if order % 4 or order > LARGEST_GENERATED:
        return None
    if _recipe(order // 2) is not None:
        return _Recipe("kronecker", 2)
    if prime_power(order - 1) is not None and (order - 1) % 4 == 3:
        return _Recipe("paley1", order - 1)
    if prime_power(order // 2 - 1) is not None and (order // 2 - 1) % 4 == 1:
        return _Recipe("paley2", order // 2 - 1)
    if williamson_rows(order // 4) is not None:
        return _Recipe("williamson", order // 4)
    for left in range(4, int(order**0.5) + 1, 4):
        if order % left == 0 and _recipe(left) is not None and _recipe(order // left) is not None:
            return _Recipe("kronecker", left)
    return None


def is_constructible(order: int) -> bool:
    """Return whether `hadamard_matrix(order)` is known to work."""
    return _recipe(order) is not None


@cache
def _matrix(order: int) -> Matrix:
    recipe = _recipe(order)
    if recipe is None:
        raise ValueError(
            f"No construction of a Hadamard matrix of order {order} is known here; use block-diagonal blocks of 128."
        )
    match recipe.method:
        case "sylvester":
            return np.array([[1]] if order == 1 else [[1, 1], [1, -1]], dtype=np.int8)
        case "kronecker":
            return np.kron(_matrix(recipe.parameter), _matrix(order // recipe.parameter))
        case "paley1":
            return _paley_one(recipe.parameter)
        case "paley2":
            return _paley_two(recipe.parameter)
        case _:
            return _williamson(recipe.parameter)


def _paley_one(q: int) -> Matrix:
    """H = I + S with S = [[0, 1], [-1, Q]], Q the skew Jacobsthal matrix of GF(q), q = 3 mod 4."""
    skew = np.zeros((q + 1, q + 1), dtype=np.int8)
    skew[0, 1:] = 1
    skew[1:, 0] = -1
    skew[1:, 1:] = quadratic_character(q)
    return skew + np.eye(q + 1, dtype=np.int8)


def _paley_two(q: int) -> Matrix:
    """H = S x [[1, 1], [1, -1]] + I x [[1, -1], [-1, -1]], S the symmetric conference matrix of GF(q), q = 1 mod 4."""
    conference = np.zeros((q + 1, q + 1), dtype=np.int8)
    conference[0, 1:] = 1
    conference[1:, 0] = 1
    conference[1:, 1:] = quadratic_character(q)
    off = np.array([[1, 1], [1, -1]], dtype=np.int8)
    on = np.array([[1, -1], [-1, -1]], dtype=np.int8)
    return np.kron(conference, off) + np.kron(np.eye(q + 1, dtype=np.int8), on)


def _williamson(t: int) -> Matrix:
    """Williamson's array of four symmetric circulants A, B, C, D with A^2 + B^2 + C^2 + D^2 = 4 t I."""
    rows = williamson_rows(t)
    assert rows is not None
    shift = (np.arange(t)[None, :] - np.arange(t)[:, None]) % t
    a, b, c, d = (np.asarray(row, dtype=np.int8)[shift] for row in rows)
    return np.block([[a, b, c, d], [-b, a, -d, c], [-c, d, a, -b], [-d, -c, b, a]])


def hadamard_matrix(order: int) -> Tensor:
    """Generate a Hadamard matrix.

    Args:
        order: 1, 2 or a multiple of 4 that a known construction reaches.

    Returns:
        Matrix of shape (order, order), int8, entries +1 and -1, H H^T = order * I.

    Raises:
        ValueError: No construction reaches this order.
    """
    if order > 1 and order & (order - 1) == 0:
        index = np.arange(order, dtype=np.uint32)
        odd = np.bitwise_count(index[:, None] & index[None, :]) & 1
        return torch.from_numpy((1 - 2 * odd.astype(np.int8)).astype(np.int8))
    return torch.from_numpy(_matrix(order).copy())
