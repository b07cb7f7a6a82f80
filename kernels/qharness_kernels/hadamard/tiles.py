"""How the kernels cut a Hadamard transform into products of small matrices."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from qharness_kernels.hadamard.factors import factor, hadamard_matrix

TYPES = (torch.float16, torch.bfloat16, torch.float32)
SMALLEST = 16
"""Least extent of an operand of a tensor-core product."""
LARGEST_ORDER = 256
"""Largest order of one product."""
LARGEST_TILE = 1 << 15
"""Most numbers of a padded row that stay on chip."""
SINGLE_POWER = 7
"""Powers of two up to this exponent are one product."""


class Extents(NamedTuple):
    """A row as (first, second, third), the first slowest; 1 where there is no such factor.

    The second and, next to others, the third are powers of two of at least `SMALLEST`.
    """

    first: int
    second: int
    third: int

    @property
    def size(self) -> int:
        """Numbers of a row."""
        return self.first * self.second * self.third

    @property
    def padded(self) -> int:
        """Numbers of a row on chip."""
        return (padded(self.first) if self.first > 1 else 1) * self.second * padded(self.third)


class Passes(NamedTuple):
    """A transform as one pass over rows of `extents`, and one across `across` such rows (1: none)."""

    extents: Extents
    across: int


def padded(extent: int) -> int:
    """Return the extent of a tensor-core operand that holds so many."""
    return max(SMALLEST, 1 << (extent - 1).bit_length())


@cache
def passes(size: int) -> Passes:
    """Return how a transform of a size is done.

    Raises:
        ValueError: There is no Hadamard matrix of the size, or one of its factors is too large for a product on chip;
            the message is a clause.
    """
    try:
        split = factor(size)
    except ValueError as error:
        raise ValueError(str(error).rstrip(".")) from error
    k, power = split.k, split.power
    if k > 1 and power < 4:
        k, power = k << power, 0
    if k > LARGEST_ORDER:
        raise ValueError(f"the Hadamard factor of order {k} of {size} numbers is too large for a product on chip")
    whole = _extents(k, power)
    if whole.padded <= LARGEST_TILE:
        return Passes(whole, 1)
    kept = power if k > 1 and power <= 2 * SINGLE_POWER else 2 * SINGLE_POWER
    across = size >> kept
    if across > LARGEST_ORDER:
        raise ValueError(f"a row of {size} numbers is too long for two passes")
    return Passes(_extents(1, kept), across)


def refusal(size: int, dtype: torch.dtype) -> str:
    """Return why the kernels have no transform of a size, as a clause; empty if they have.

    Args:
        size: Size of the blocks.
        dtype: Type of the numbers.
    """
    if dtype not in TYPES:
        return f"the Hadamard kernel has no type {str(dtype).removeprefix('torch.')}"
    try:
        passes(size)
    except ValueError as error:
        return str(error)
    return ""


def refusal_across(heads: int, dtype: torch.dtype) -> str:
    """Return why the kernels have no transform over so many heads, as a clause; empty if they have."""
    too_many = f"{heads} heads are too many for a product on chip" if heads > LARGEST_ORDER else ""
    return too_many or refusal(heads, dtype)


def _extents(k: int, power: int) -> Extents:
    first = k
    if power == 0:
        return Extents(1, 1, first)
    if power <= SINGLE_POWER:
        return Extents(first, 1, 1 << power)
    low = power // 2
    if first == 1:
        return Extents(1 << (power - low), 1, 1 << low)
    return Extents(first, 1 << (power - low), 1 << low)


def halving(order: int) -> int:
    """Return the power of two nearest to the root of an order, as an exponent: what a product divides by exactly."""
    return round(math.log2(order) / 2)


def rest(*orders: int) -> float:
    """Return what is left of the normalisation of products of these orders, each divided by 2^halving."""
    return math.prod(2.0 ** halving(order) / math.sqrt(order) for order in orders)


@cache
def operand(order: int, inverse: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the Hadamard matrix of an order (Kronecker with a power of two if need be), over 2^halving, padded.

    Args:
        order: 1 for none.
        inverse: Return the transpose.
        dtype: Type.
        device: Device.

    Returns:
        Shape (padded, padded), zero beyond the order; exact in every floating-point type.
    """
    with torch.inference_mode(False), torch.no_grad():
        split = factor(order)
        matrix = torch.kron(hadamard_matrix(split.k).double(), hadamard_matrix(1 << split.power).double())
        matrix = (matrix.T if inverse else matrix) * 2.0 ** -halving(order)
        whole = torch.zeros(padded(order), padded(order), dtype=torch.float64)
        whole[:order, :order] = matrix
        # Copied after its type is set: a kernel that starts early must find it written.
        return whole.to(dtype).to(device)
