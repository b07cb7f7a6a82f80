"""E8P: 65,536 points of a shifted E8 lattice, two bits per weight."""

from __future__ import annotations

from qharness_kernels.e8p.reference import e8_codebook, e8_encode, e8p_codebook, e8p_decode, e8p_encode

__all__ = ["e8_codebook", "e8_encode", "e8p_codebook", "e8p_decode", "e8p_encode"]
