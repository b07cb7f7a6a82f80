"""Compute kernels: a readable torch reference beside each Triton kernel, one folder an operation."""
