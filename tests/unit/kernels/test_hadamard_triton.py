from __future__ import annotations

from functools import partial

import pytest
import torch

from qharness_kernels.hadamard import factor, hadamard_across, hadamard_transform
from qharness_kernels.hadamard.tiles import LARGEST_TILE, operand, passes, refusal, refusal_across, rest
from qharness_kernels.interpreting import interpreted

KERNEL = "qharness_kernels.hadamard.triton"
run = partial(interpreted, KERNEL)
SIZES = [2, 12, 16, 24, 128, 192, 256, 576, 896, 1024, 4096, 5120]


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    assert found.isfinite().all()
    return float((found.double() - exact).norm() / exact.norm())


def plain(x: torch.Tensor, **kwargs) -> float:
    """Error of the reference, which computes in float32 and rounds once."""
    return relative(hadamard_transform(x, **kwargs), hadamard_transform(x.double(), **kwargs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_kernel_is_as_exact_as_its_type(size: int, dtype: torch.dtype) -> None:
    x = torch.randn(3, size, generator=torch.Generator().manual_seed(size)).to(dtype)
    found = run("hadamard_transform", x)
    assert (found.shape, found.dtype) == (x.shape, dtype)
    assert relative(found, hadamard_transform(x.double())) <= 2 * max(plain(x), torch.finfo(dtype).eps / 4)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("size", "block"), [(768, None), (768, 128), (768, 12), (1792, None), (4096, 128)])
@pytest.mark.parametrize("kind", [torch.int8, torch.float16])
def test_signs_and_inverse(size: int, block: int | None, inverse: bool, kind: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(size)
    x = torch.randn(2, 3, size, generator=draw).half()
    signs = torch.randint(0, 2, (size,), generator=draw) * 2 - 1
    signs = signs.to(kind) if kind == torch.int8 else (signs * (1 + torch.rand(size, generator=draw))).half()
    found = run("hadamard_transform", x, block=block, signs=signs, inverse=inverse, scale=0.75)
    exact = 0.75 * hadamard_transform(x.double(), block=block, signs=signs.double(), inverse=inverse)
    assert relative(found, exact) < 2 * max(plain(x, block=block, signs=signs, inverse=inverse), 2.0**-12)


def test_kernel_inverts_itself_exactly_enough() -> None:
    x = torch.randn(5, 896)
    there = run("hadamard_transform", x, signs=torch.ones(896, dtype=torch.int8))
    assert (run("hadamard_transform", there, inverse=True) - x).abs().max() < 1e-5


@pytest.mark.parametrize(("heads", "head"), [(2, 16), (12, 24), (32, 8), (9 * 4, 72)])
def test_across_heads(heads: int, head: int) -> None:
    x = torch.randn(3, heads * head).half()
    assert relative(run("hadamard_across", x, heads), hadamard_across(x.double(), heads)) < 2.0**-11


@pytest.mark.parametrize("inverse", [False, True])
def test_rows_that_do_not_fit_on_chip_take_two_passes(inverse: bool) -> None:
    assert passes(53248).across == 52
    x, signs = torch.randn(1, 53248).half(), torch.randint(0, 2, (53248,)) * 2 - 1
    found = run("hadamard_transform", x, signs=signs, inverse=inverse)
    exact = hadamard_transform(x.double(), signs=signs.double(), inverse=inverse)
    assert relative(found, exact) < 2 * 2.0**-11


@pytest.mark.parametrize("size", [14336, 11008, 13824, 18944, 28672, 16384, 21504, 25600])
def test_rows_of_published_models_take_one_pass(size: int) -> None:
    found = passes(size)
    assert (found.across, found.extents.size) == (1, size)
    assert found.extents.padded <= LARGEST_TILE


@pytest.mark.parametrize("order", [2, 12, 28, 36, 64])
def test_operands_are_exact_and_normalised(order: int) -> None:
    matrix = operand(order, False, torch.float16, torch.device("cpu")).double() * rest(order)
    gram = matrix[:order, :order] @ matrix[:order, :order].T
    assert (gram - torch.eye(order).double()).abs().max() < 1e-12
    assert matrix[order:].count_nonzero() + matrix[:, order:].count_nonzero() == 0


def test_unsupported_transforms_are_refused_with_the_reason() -> None:
    assert "float64" in refusal(4096, torch.float64)
    assert "order 924" in refusal(29568, torch.float16)
    assert factor(29568).k == 924
    assert refusal(128, torch.float16) == ""
    assert refusal(14336, torch.bfloat16) == ""
    assert "512 heads" in refusal_across(512, torch.float16)
    assert refusal_across(36, torch.float16) == ""
