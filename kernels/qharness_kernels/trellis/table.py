"""The starting table of the HYB code."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qharness_kernels.trellis.codes import LUT_BITS

# The root of x^3 = x + 1: its first two powers give the additive sequence that fills the square most evenly.
PLASTIC = 1.32471795724474602596


def gaussian_table(lut_bits: int = LUT_BITS) -> Tensor:
    """Return evenly spread points of a two-dimensional normal distribution, shape (2^lut_bits, 2), float16.

    An additive sequence fills the unit square, the inverse normal distribution function maps it to the plane, and the
    whole is scaled to the standard deviation sqrt(1 - 2^-4) of the best reproduction of normal numbers at two bits.

    Args:
        lut_bits: Base-2 logarithm of the rows.
    """
    index = torch.arange(1 << lut_bits, dtype=torch.float64)
    square = torch.stack([(0.5 + index / PLASTIC) % 1, (0.5 + index / PLASTIC**2) % 1], 1)
    points = math.sqrt(2) * torch.erfinv(2 * square - 1)
    return (points / points.square().mean().sqrt() * math.sqrt(1 - 2**-4)).half()
