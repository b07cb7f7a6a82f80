from __future__ import annotations

from functools import partial

import pytest
import torch

from qharness_kernels.butterfly import butterfly_split, butterfly_transform
from qharness_kernels.butterfly.layout import prepare, refusal
from qharness_kernels.interpreting import interpreted

run = partial(interpreted, "qharness_kernels.butterfly.triton")


def parameters(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    split, draw = butterfly_split(size), torch.Generator().manual_seed(size)
    return torch.randn(split.angles, generator=draw), torch.randn(split.skew, generator=draw)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("size", [2, 7, 12, 64, 576, 896, 1536, 4096])
def test_kernel_is_as_exact_as_its_type(size: int, dtype: torch.dtype, inverse: bool) -> None:
    angles, skew = parameters(size)
    x = torch.randn(2, 3, size, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = run("butterfly_transform", x, prepare(angles, skew, size, "cpu"), inverse)
    exact = butterfly_transform(x.double(), angles.double(), skew.double(), inverse)
    plain = (butterfly_transform(x, angles, skew, inverse).double() - exact).norm()
    assert (found.shape, found.dtype) == (x.shape, dtype)
    assert (found.double() - exact).norm() <= 2 * max(plain, 2.0**-24 * exact.norm())


def test_sizes_that_do_not_fit_are_refused_with_the_reason() -> None:
    assert "float64" in refusal(4096, torch.float64)
    assert "does not fit on chip" in refusal(1 << 15, torch.float16)
    assert refusal(14336, torch.float16) == ""
