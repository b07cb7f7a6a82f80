"""Hadamard transforms of sizes K * 2^m and block-diagonal ones."""

from qharness_kernels.hadamard.factors import Factor, factor, hadamard_matrix, is_constructible
from qharness_kernels.hadamard.reference import (
    Family,
    family_factor,
    family_matrix,
    hadamard_across,
    hadamard_dense,
    hadamard_transform,
)

__all__ = [
    "Factor",
    "Family",
    "factor",
    "family_factor",
    "family_matrix",
    "hadamard_across",
    "hadamard_dense",
    "hadamard_matrix",
    "hadamard_transform",
    "is_constructible",
]
