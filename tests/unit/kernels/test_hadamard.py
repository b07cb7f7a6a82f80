from __future__ import annotations

import pytest
import torch

from qharness_kernels.hadamard import factor, hadamard_dense, hadamard_matrix, hadamard_transform, is_constructible

ORDERS = [order for order in range(1, 257) if is_constructible(order)]


@pytest.mark.parametrize("order", ORDERS)
def test_every_claimed_order_up_to_256_is_a_hadamard_matrix(order: int) -> None:
    matrix = hadamard_matrix(order)
    assert matrix.dtype == torch.int8
    assert matrix.abs().eq(1).all()
    gram = matrix.int() @ matrix.int().T
    assert torch.equal(gram, order * torch.eye(order, dtype=torch.int32))


def test_claimed_orders_cover_the_factors_of_published_models() -> None:
    assert set(range(4, 153, 4)) <= set(ORDERS)
    assert {160, 164, 168, 172, 176, 180, 184, 200, 224, 232, 244, 256} <= set(ORDERS)


@pytest.mark.parametrize(
    ("size", "k"),
    [(64, 1), (768, 12), (14336, 28), (5120, 20), (1536, 12), (13824, 108), (8960, 140), (28672, 28), (11008, 172)],
)
def test_factor_prefers_the_smallest_order(size: int, k: int) -> None:
    found = factor(size)
    assert (found.k, found.size) == (k, size)


@pytest.mark.parametrize("size", [9728, 12800, 17408, 18944, 21504, 25600, 29568])
def test_sizes_that_fixed_chains_miss_can_be_factored(size: int) -> None:
    assert factor(size).size == size


def test_unreachable_size_proposes_blocks() -> None:
    with pytest.raises(ValueError, match="block"):
        factor(3 * 7 * 17 * 2)
    with pytest.raises(ValueError, match="block"):
        hadamard_matrix(668)


@pytest.mark.parametrize("size", [1, 2, 12, 64, 96, 256, 320, 384, 512, 768, 832, 1024, 1792, 2048, 2816, 4096])
def test_transform_equals_dense(size: int) -> None:
    x = torch.randn(3, 2, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    dense = hadamard_dense(size)
    assert (dense @ dense.T - torch.eye(size, dtype=torch.float64)).abs().max() < 1e-12
    assert (hadamard_transform(x) - x @ dense.T).abs().max() < 1e-11


@pytest.mark.parametrize(("size", "block"), [(768, 128), (768, 12), (640, 320), (2560, 1280)])
def test_block_diagonal_equals_dense(size: int, block: int) -> None:
    x = torch.randn(4, size, dtype=torch.float64)
    assert (hadamard_transform(x, block=block) - x @ hadamard_dense(size, block).T).abs().max() < 1e-11


@pytest.mark.parametrize(
    ("size", "block"), [(28 * 16, None), (12 * 512, None), (14336, None), (14336, 128), (40, None)]
)
def test_inverse_undoes_the_transform_with_signs(size: int, block: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, size, dtype=torch.float64, generator=generator)
    signs = torch.randint(0, 2, (size,), generator=generator) * 2 - 1
    there = hadamard_transform(x, block=block, signs=signs)
    back = hadamard_transform(there, block=block, signs=signs, inverse=True)
    assert (back - x).abs().max() < 1e-12
    assert (there - x).abs().max() > 0.1
    assert (there.norm(dim=-1) - x.norm(dim=-1)).abs().max() < 1e-10


def test_signs_act_before_the_hadamard() -> None:
    signs = torch.tensor([1.0, -1.0] * 6)
    x = torch.randn(5, 12, dtype=torch.float64)
    expected = x @ (hadamard_dense(12) @ torch.diag(signs.double())).T
    assert torch.allclose(hadamard_transform(x, signs=signs), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_types_keep_their_type_and_float32_accuracy(dtype: torch.dtype) -> None:
    x = torch.randn(7, 768).to(dtype)
    exact = hadamard_transform(x.double())
    tolerance = 1e-5 if dtype == torch.float32 else 4 * torch.finfo(dtype).eps
    result = hadamard_transform(x)
    assert result.dtype == dtype
    assert (result.double() - exact).abs().max() < tolerance * exact.abs().max()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        hadamard_transform(torch.zeros(2, 100), block=128)
    with pytest.raises(ValueError, match="sign vector"):
        hadamard_transform(torch.zeros(2, 64), signs=torch.ones(32))


def test_matrix_cached_in_inference_mode_still_meets_autograd() -> None:
    with torch.inference_mode():
        hadamard_transform(torch.zeros(1, 20 * 64))
    x = torch.randn(2, 20 * 64, requires_grad=True)
    hadamard_transform(x).sum().backward()
    assert x.grad is not None
