"""The 256 patterns of absolute values of E8P12, and how a code word names one.

A pattern is a vector of {1/2, 3/2, 5/2}^8. The 227 of squared length at most 10 come first, in lexicographic order; 29
of squared length 12 fill the byte. Which 29 is free, but a published checkpoint is read right only with its own.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

FREE = 227
# Where the three 1/2 of the 29 patterns of length 12 are (the other five coordinates are 3/2), in the order of the
# public checkpoints (relaxml/*-E8P-2Bit). Source: the table of norm-12 vectors of Cornell-RelaxML/quip-sharp.
EXTRA = (
    "123", "023", "013", "012", "367", "357", "347", "356", "346", "345", "267", "257", "247", "256", "246", "245",
    "167", "157", "147", "156", "146", "045", "067", "057", "047", "056", "046", "014", "237",
)  # fmt: skip
# Bit and nibble i of the code word belong to this coordinate: pairs of neighbours come apart.
COORDINATES = (0, 2, 4, 6, 1, 3, 5, 7)


@cache
def abs_patterns() -> NDArray[np.int8]:
    """Return the patterns times two, shape (256, 8), entries 1, 3, 5, 7."""
    short = [p for p in product((1, 3, 5), repeat=8) if sum(x * x for x in p) <= 40]
    long = [[1 if str(i) in halves else 3 for i in range(8)] for halves in EXTRA]
    return np.array([*short, *long], dtype=np.int8)


@cache
def pattern_numbers() -> NDArray[np.int16]:
    """Return the number of a pattern by its key sum_i (2 p_i - 1) / 2 * 4^i; -1 where there is none."""
    numbers = np.full(4**8, -1, dtype=np.int16)
    numbers[((abs_patterns().astype(np.int64) - 1) // 2) @ (4 ** np.arange(8))] = np.arange(256)
    return numbers
