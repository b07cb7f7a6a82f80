"""Small finite fields: which numbers are prime powers, and the quadratic character of their differences."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class PrimePower(NamedTuple):
    """q = prime ** degree."""

    prime: int
    degree: int


@cache
def prime_power(q: int) -> PrimePower | None:
    """Return the prime and the exponent of a prime power, or None."""
    if q < 2:
        return None
    prime = next((d for d in range(2, int(q**0.5) + 1) if q % d == 0), q)
    degree, rest = 0, q
    while rest % prime == 0:
        rest, degree = rest // prime, degree + 1
    return PrimePower(prime, degree) if rest == 1 else None


def quadratic_character(q: int) -> NDArray[np.int8]:
    """Return the Jacobsthal matrix Q[i, j] = chi(a_i - a_j) of GF(q).

    Args:
        q: Odd prime power. Elements are numbered by their coefficients read as digits in base p, lowest first.

    Returns:
        Matrix of shape (q, q), int8: 0 on the diagonal, +1 where the difference is a square, else -1.
    """
    found = prime_power(q)
    if found is None or found.prime == 2:
        raise ValueError(f"{q} is not an odd prime power.")
    prime, degree = found
    digits = np.array([[(i // prime**j) % prime for j in range(degree)] for i in range(q)])
    weights = prime ** np.arange(degree)
    character = np.full(q, -1, dtype=np.int8)
    modulus = _irreducible(prime, degree)
    for element in digits:
        character[int(_multiply(element, element, modulus, prime) @ weights)] = 1
    character[0] = 0
    differences = (digits[:, None, :] - digits[None, :, :]) % prime
    return character[differences @ weights]


def _multiply(left: NDArray[np.int64], right: NDArray[np.int64], modulus: tuple[int, ...], p: int) -> NDArray[np.int64]:
    """Multiply two polynomials over GF(p) modulo the monic x^d + sum_j modulus[j] x^j."""
    degree = len(modulus)
    value = np.convolve(left, right) % p
    for top in range(len(value) - 1, degree - 1, -1):
        value[top - degree : top] = (value[top - degree : top] - value[top] * np.array(modulus)) % p
        value[top] = 0
    return value[:degree]


@cache
def _irreducible(p: int, degree: int) -> tuple[int, ...]:
    """Return the lower coefficients of the first monic irreducible polynomial of that degree, lowest first."""
    if degree == 1:
        return (0,)
    reducible: set[tuple[int, ...]] = set()
    for low in range(1, degree // 2 + 1):
        for left in product(range(p), repeat=low):
            for right in product(range(p), repeat=degree - low):
                whole = np.convolve((*left, 1), (*right, 1)) % p
                reducible.add(tuple(int(c) for c in whole[:-1]))
    return next(c for c in product(range(p), repeat=degree) if c not in reducible)
