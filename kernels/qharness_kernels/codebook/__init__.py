"""Decoding of learned codebooks."""

from qharness_kernels.codebook.reference import decode_additive
from qharness_kernels.codebook.vectors import VectorTensors, decode_vectors, decode_vptq

__all__ = ["VectorTensors", "decode_additive", "decode_vectors", "decode_vptq"]
