"""Orthogonal matrices to rotate with."""

from __future__ import annotations

import torch
from torch import Tensor

from qharness.errors import UsageError
from qharness_kernels.hadamard import factor, hadamard_dense


def is_known(size: int) -> bool:
    """Return whether a Hadamard matrix of that size can be made."""
    try:
        factor(size)
    except ValueError:
        return False
    return True


def random_hadamard(size: int, generator: torch.Generator, block: int = 0) -> tuple[Tensor, bool]:
    """Return a Hadamard matrix with random signs, and whether it is one.

    Args:
        size: Rows and columns.
        generator: Of the signs.
        block: Size of diagonal blocks; 0 is one block.

    Returns:
        diag(+-1) H / sqrt(block), float64, and True; or a random orthogonal matrix and False where no Hadamard matrix
        of the whole size is known.

    Raises:
        UsageError: The block does not divide the size, or no Hadamard matrix of its size is known.
    """
    signs = torch.randint(0, 2, (size,), generator=generator).double() * 2 - 1
    try:
        return signs[:, None] * _dense(size, block), True
    except ValueError as error:
        if block:
            raise UsageError(str(error)) from error
        q, r = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
        return q * r.diagonal().sign(), False


def walsh(size: int, block: int = 0) -> Tensor:
    """Return a block-diagonal Hadamard matrix whose columns are ordered by sequency, their number of sign changes.

    Neighbouring columns then oscillate alike, so that a group of weights along them is more uniform.

    Args:
        size: Rows and columns.
        block: Size of diagonal blocks; 0 is one block.

    Returns:
        Shape (size, size), float64, orthogonal.

    Raises:
        UsageError: The block does not divide the size, or no Hadamard matrix of its size is known.

    Source: Grouped Sequency-arranged Rotation (GSR), arXiv 2505.03810, abstract.
    """
    length = block or size
    try:
        _dense(size, block)
        matrix = hadamard_dense(length)
    except ValueError as error:
        raise UsageError(str(error)) from error
    changes = (matrix[1:] * matrix[:-1] < 0).sum(0)
    ordered = matrix[:, changes.argsort(stable=True)]
    return torch.block_diag(*[ordered] * (size // length))


def _dense(size: int, block: int) -> Tensor:
    return hadamard_dense(size, block or None)


def orthogonality_error(matrix: Tensor) -> float:
    """Return max |R^T R - I|, of one matrix or a batch, in float64."""
    matrix = matrix.double()
    identity = torch.eye(matrix.shape[-1], dtype=torch.float64, device=matrix.device)
    return float((matrix.transpose(-1, -2) @ matrix - identity).abs().max())
