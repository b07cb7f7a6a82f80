"""Butterflies: the Hadamard at pi/4, orthogonality, the inverse, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from qharness_kernels.butterfly import butterfly_dense, butterfly_split, butterfly_transform, cayley
from qharness_kernels.hadamard import hadamard_dense

SIZES = [1, 2, 8, 64, 96, 576, 768, 1024]


def _random(n, seed=0, dtype=torch.float32):
    split = butterfly_split(n)
    generator = torch.Generator().manual_seed(seed)
    angles = torch.randn(split.angles, generator=generator, dtype=dtype) * 2
    return angles, torch.randn(split.skew, generator=generator, dtype=dtype)


@pytest.mark.parametrize("n", [2, 8, 64, 1024])
def test_all_angles_of_a_quarter_pi_are_the_hadamard_times_its_signs(n):
    split = butterfly_split(n)
    angles = torch.full(split.angles, math.pi / 4, dtype=torch.float64)
    signs = torch.tensor([(-1.0) ** bin(i).count("1") for i in range(n)], dtype=torch.float64)
    wanted = hadamard_dense(n) * signs
    torch.testing.assert_close(butterfly_dense(angles, torch.zeros(0), n), wanted, rtol=0, atol=1e-14)


def test_no_angles_are_the_identity():
    split = butterfly_split(96)
    found = butterfly_dense(torch.zeros(split.angles), torch.zeros(split.skew), 96)
    assert torch.equal(found, torch.eye(96, dtype=torch.float64))


@pytest.mark.parametrize("n", SIZES)
def test_orthogonal_and_inverted(n):
    angles, skew = _random(n)
    dense = butterfly_dense(angles, skew, n)
    torch.testing.assert_close(dense @ dense.T, torch.eye(n, dtype=torch.float64), rtol=0, atol=1e-12)
    single = butterfly_transform(torch.eye(n), angles, skew)
    torch.testing.assert_close(single.double() @ single.double().T, torch.eye(n).double(), rtol=0, atol=1e-6)
    x = torch.randn(3, 2, n, generator=torch.Generator().manual_seed(1))
    y = butterfly_transform(x, angles, skew)
    torch.testing.assert_close(y, (x.double() @ dense.T).float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(butterfly_transform(y, angles, skew, inverse=True), x, rtol=1e-5, atol=1e-5)
    assert butterfly_transform(x.bfloat16(), angles, skew).dtype == torch.bfloat16


def test_kronecker_of_factor_and_stages():
    angles, skew = _random(24, dtype=torch.float64)
    inner = butterfly_dense(angles, torch.zeros(0), 8)
    wanted = torch.kron(cayley(skew, 3), inner)
    torch.testing.assert_close(butterfly_dense(angles, skew, 24), wanted, rtol=0, atol=1e-14)


def test_gradients():
    angles, skew = (part.requires_grad_() for part in _random(12, dtype=torch.float64))
    x = torch.randn(2, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(butterfly_transform, (x, angles, skew))


def test_wrong_sizes_are_refused():
    angles, skew = _random(64)
    with pytest.raises(ValueError, match="96"):
        butterfly_transform(torch.zeros(96), angles, skew)
