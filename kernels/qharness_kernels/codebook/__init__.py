"""Decoding of learned codebooks."""

from qharness_kernels.codebook.reference import decode_additive

__all__ = ["decode_additive"]
