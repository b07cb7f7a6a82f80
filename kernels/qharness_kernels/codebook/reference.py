"""Learned codebooks in plain torch: what the fast kernels must agree with."""

from __future__ import annotations

from torch import Tensor


def decode_additive(codes: Tensor, codebooks: Tensor, scales: Tensor) -> Tensor:
    """Return W with W[r, g] = scales[r] * sum_m codebooks[m, codes[r, g, m]], differentiable in codebooks and scales.

    Args:
        codes: Shape (rows, groups, M), any integer type, 0 .. K - 1.
        codebooks: Shape (M, K, group).
        scales: Shape (rows,).

    Returns:
        Shape (rows, groups * group), float32.

    Source: Egiazarian et al., AQLM, arXiv 2401.06118, section 3.1.
    """
    books = codebooks.float()
    total = books[0][codes[:, :, 0].long()]
    for index in range(1, codes.shape[2]):
        total = total + books[index][codes[:, :, index].long()]
    return (total * scales.float()[:, None, None]).flatten(1)


def dequantize(codes: Tensor, codebooks: Tensor, scales: Tensor) -> Tensor:
    """Return the weight of additive codes as `layout.prepare` takes them; `decode_additive` under the usual name."""
    return decode_additive(codes, codebooks, scales)
