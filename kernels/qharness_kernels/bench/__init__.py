"""Timing of kernels on a GPU."""
