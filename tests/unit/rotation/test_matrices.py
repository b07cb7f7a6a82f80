"""Matrices to rotate with: orthogonal, from the seed, ordered by sequency."""

from __future__ import annotations

import pytest
import torch

from qharness.errors import UsageError
from qharness.rotation.matrices import is_known, orthogonality_error, random_hadamard, walsh


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("size", "block"), [(64, 0), (576, 0), (96, 32), (18, 0)])
def test_random_matrices_are_orthogonal_and_follow_the_seed(size, block):
    matrix, is_hadamard = random_hadamard(size, _generator(), block)
    assert orthogonality_error(matrix) < 1e-12
    assert is_hadamard == is_known(block or size)
    assert torch.equal(matrix, random_hadamard(size, _generator(), block)[0])
    assert not torch.equal(matrix, random_hadamard(size, _generator(1), block)[0])
    if is_hadamard:
        assert torch.allclose(matrix.abs().amax(), torch.tensor((block or size) ** -0.5, dtype=torch.float64))
    if block:
        assert not matrix[:block, block:].any()


@pytest.mark.parametrize(("size", "block"), [(64, 0), (64, 16), (48, 0)])
def test_walsh_columns_oscillate_more_and_more(size, block):
    matrix = walsh(size, block)
    assert orthogonality_error(matrix) < 1e-12
    length = block or size
    changes = (matrix[:length, :length].diff(dim=0) != 0).sum(0)
    assert torch.equal(changes, changes.sort().values)
    if not length & (length - 1):
        assert changes.tolist() == list(range(length))


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="does not divide"):
        walsh(64, 24)
    with pytest.raises(UsageError, match="does not divide"):
        random_hadamard(64, _generator(), 24)
