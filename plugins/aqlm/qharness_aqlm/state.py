"""The variables of additive quantization and what they decode to."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from qharness_kernels.codebook import decode_additive


@dataclass
class Additive:
    """A matrix as scaled sums of code words: W[r, g] = scales[r] * sum_m codebooks[m, codes[r, g, m]].

    Attributes:
        codes: Shape (rows, groups, M), int64.
        codebooks: Shape (M, K, group), float32.
        scales: Shape (rows,), float32.
    """

    codes: Tensor
    codebooks: Tensor
    scales: Tensor

    def weight(self) -> Tensor:
        """Return the decoded matrix, shape (rows, groups * group), float32."""
        return decode_additive(self.codes, self.codebooks, self.scales)


def squared_error(difference: Tensor, hessian: Tensor) -> Tensor:
    """Return tr(D H D^T) of each row, shape (rows,): the squared output error of a linear layer per output.

    Args:
        difference: Shape (rows, columns).
        hessian: Shape (columns, columns).
    """
    return ((difference @ hessian) * difference).sum(1)
