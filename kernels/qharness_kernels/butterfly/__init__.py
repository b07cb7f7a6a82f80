"""Orthogonal butterfly transforms of sizes K * 2^m."""

from qharness_kernels.butterfly.reference import butterfly_dense, butterfly_split, butterfly_transform, cayley

__all__ = ["butterfly_dense", "butterfly_split", "butterfly_transform", "cayley"]
