"""E8P12: the size of the code, its distortion, and the nearest point against a search of all points."""

from __future__ import annotations

import pytest
import torch

from qharness_kernels.e8p import e8_codebook, e8_encode, e8p_codebook, e8p_decode, e8p_encode
from qharness_kernels.e8p.patterns import abs_patterns


def _normal(count, seed=0):
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


def test_it_has_all_distinct_points_of_the_lattice():
    points = e8p_codebook()
    assert len(points.unique(dim=0)) == 65536
    assert float(points.square().mean().sqrt()) == pytest.approx(1.094, abs=5e-4)
    assert float(points.abs().max()) == 2.75
    shift = torch.where(((points - 0.25) * 2).remainder(2).eq(1).all(1), 0.25, -0.25)
    centred = points - shift[:, None]
    assert (centred * 2).remainder(2).eq(1).all() and centred.sum(1).remainder(2).eq(0).all()
    assert (centred.square().sum(1) <= 12).all()
    lengths = (abs_patterns().astype(int) ** 2).sum(1) / 4
    assert [int((lengths == n).sum()) for n in (2, 4, 6, 8, 10, 12)] == [1, 8, 28, 64, 126, 29]


# 1.03 is the scale of unit weights; 0.3 and 5 are far inside and outside.
@pytest.mark.parametrize("scale", [0.3, 1.03, 2.0, 5.0])
def test_the_point_found_is_the_nearest_of_all(scale):
    x = _normal(500) * scale
    distances = torch.cdist(x.double(), e8p_codebook().double())
    found = (e8p_decode(e8p_encode(x)).double() - x.double()).norm(dim=1)
    assert torch.allclose(found, distances.min(1).values, rtol=0, atol=1e-6)


def test_every_code_word_comes_back():
    codes = torch.arange(65536)
    assert torch.equal(e8p_encode(e8p_decode(codes)).long() & 0xFFFF, codes)
    assert torch.equal(e8p_decode(codes.to(torch.int16)), e8p_codebook())


def test_distortion_on_normal_weights():
    x = _normal(1 << 17)
    error = (e8p_decode(e8p_encode(x * 1.03)) / 1.03 - x).square().mean()
    assert float(error) == pytest.approx(0.0914, abs=6e-4)


def test_shapes_are_kept():
    assert e8p_encode(torch.zeros(3, 5, 8)).shape == (3, 5)
    assert e8p_encode(torch.zeros(0, 8)).shape == (0,)
    assert e8p_decode(torch.zeros(2, 3, dtype=torch.int32)).shape == (2, 3, 8)
    assert e8_encode(torch.zeros(4, 2, 8)).shape == (4, 2)


def test_e8_residual_code():
    points = e8_codebook()
    lengths = points.square().sum(1).tolist()
    assert len(points.unique(dim=0)) == 256 and [lengths.count(n) for n in (0, 2, 4)] == [1, 240, 15]
    assert torch.equal(e8_encode(points).long(), torch.arange(256))
