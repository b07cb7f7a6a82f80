"""The nearest points in Triton, interpreted, against the search in torch."""

from __future__ import annotations

import pytest
import torch

from qharness_kernels.e8p import e8p_codebook, e8p_decode, e8p_encode
from qharness_kernels.interpreting import interpreted


@pytest.mark.parametrize(("count", "spread"), [(200, 1.0), (100, 2.5), (5, 0.1), (0, 1.0)])
def test_the_nearest_points_are_those_of_the_reference(count: int, spread: float) -> None:
    x = spread * torch.randn(count, 8, generator=torch.Generator().manual_seed(count))
    found = interpreted("qharness_kernels.e8p.nearest", "nearest_codes", x)
    assert found.dtype == torch.int16 and found.shape == (count,)
    assert torch.equal(found, e8p_encode(x))


def test_every_point_is_its_own_nearest() -> None:
    points = e8p_codebook()[torch.randint(0, 1 << 16, (300,), generator=torch.Generator().manual_seed(0))]
    found = interpreted("qharness_kernels.e8p.nearest", "nearest_codes", points)
    assert torch.equal(e8p_decode(found), points)
