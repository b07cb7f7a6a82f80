"""A butterfly: its parameters, where they start, and how they are stored."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from qharness_kernels.butterfly import butterfly_split, butterfly_transform

Start = Literal["identity", "hadamard"]


class Butterfly(NamedTuple):
    """An orthogonal map of n = K * 2^m numbers.

    Attributes:
        angles: Shape (m, 2^(m-1)).
        skew: Free entries of the skew-symmetric matrix behind the factor of order K, shape (K (K - 1) / 2,).
    """

    angles: Tensor
    skew: Tensor

    def apply(self, x: Tensor, inverse: bool = False) -> Tensor:
        """Apply the map, or its inverse, to the last dimension."""
        found: Tensor = butterfly_transform(x, self.angles.to(x.device), self.skew.to(x.device), inverse)
        return found

    def stored(self) -> Butterfly:
        """Return the map whose parameters are float16 numbers; it is as orthogonal as any other."""
        return Butterfly(self.angles.detach().half(), self.skew.detach().half())


def start(size: int, at: Start) -> Butterfly:
    """Return the butterfly before learning, float32.

    Args:
        size: Size of the dimension.
        at: `identity`, all angles 0; `hadamard`, all pi/4. The factor of odd order starts as the identity.
    """
    split = butterfly_split(size)
    angle = math.pi / 4 if at == "hadamard" else 0.0
    return Butterfly(torch.full(split.angles, angle), torch.zeros(split.skew))


def rotate_hessian(hessian: Tensor, butterfly: Butterfly) -> Tensor:
    """Return B H B^T, the second moment of the rotated input, symmetric to the bit, float32."""
    found = butterfly.apply(butterfly.apply(hessian.double()).T)
    return ((found + found.T) / 2).float()
