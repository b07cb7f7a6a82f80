"""Random matrices of additive codes and activations, for tests and measurements."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from qharness_kernels.codebook.layout import GROUP


class Inputs(NamedTuple):
    """Activations and the arguments of `reference.decode_additive`.

    Attributes:
        x: Shape (rows, in_features).
        codes: Shape (out_features, in_features / 8, books), int32.
        codebooks: Shape (books, 2^bits, 8), float16.
        scales: Shape (out_features,), float16.
    """

    x: Tensor
    codes: Tensor
    codebooks: Tensor
    scales: Tensor


def make(
    out_features: int,
    in_features: int,
    rows: int,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    seed: int,
    books: int = 2,
    bits: int = 8,
) -> Inputs:
    """Return a random matrix and normal activations.

    Args:
        out_features: Outputs.
        in_features: Inputs, a multiple of 8.
        rows: Rows of activations.
        device: Where the tensors are.
        dtype: Type of the activations.
        seed: Seed of the random numbers.
        books: Codebooks.
        bits: Bits of a code.
    """
    generator = torch.Generator(device).manual_seed(seed)
    shape = (out_features, in_features // GROUP, books)
    codes = torch.randint(1 << bits, shape, generator=generator, device=device, dtype=torch.int32)
    codebooks = torch.randn(books, 1 << bits, GROUP, generator=generator, device=device).half()
    scales = (0.5 + torch.rand(out_features, generator=generator, device=device)) * in_features**-0.5
    x = torch.randn(rows, in_features, generator=generator, device=device).to(dtype)
    return Inputs(x, codes, codebooks, scales.half())
