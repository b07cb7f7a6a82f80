from __future__ import annotations

from functools import partial

import pytest
import torch

from qharness_kernels.codebook import decode_additive, inputs, layout
from qharness_kernels.interpreting import interpreted

run = partial(interpreted, "qharness_kernels.codebook.triton")

BOOKS = [(2, 8), (2, 6), (1, 16), (1, 12)]


@pytest.mark.parametrize(("books", "bits"), BOOKS)
def test_lanes_hold_the_codes_of_their_operands(books: int, bits: int) -> None:
    made = inputs.make(39, 200, 1, device="cpu", dtype=torch.float16, seed=1, books=books, bits=bits)
    prepared = layout.prepare(*made[1:])
    found = torch.full((48, 256), torch.nan)
    for (tile, chunk, lane, step), word in zip(
        torch.cartesian_prod(*map(torch.arange, prepared.words.shape)).tolist(), prepared.words.flatten().tolist(),
        strict=True,
    ):  # fmt: skip
        for half in (0, 1):
            code, row = word >> (16 * half) & 0xFFFF, tile * 16 + lane // 4 + 8 * half
            parts = [code & 0xFF, code >> 8] if books == 2 else [code]
            vector = sum(prepared.codebooks[book, part].float() for book, part in enumerate(parts))
            k = chunk * layout.CHUNK + step * 32 + lane % 4 * layout.GROUP
            found[row, k : k + layout.GROUP] = vector
    expected = decode_additive(made.codes, made.codebooks, made.scales)
    assert torch.equal(found[:39, :200] * made.scales.float()[:, None], expected)


@pytest.mark.parametrize(("books", "bits"), BOOKS)
def test_triton_expands_the_reference_s_matrix(books: int, bits: int) -> None:
    made = inputs.make(39, 200, 1, device="cpu", dtype=torch.float16, seed=2, books=books, bits=bits)
    found = run("dequantize", layout.prepare(*made[1:]), torch.float32)
    assert torch.equal(found, decode_additive(*made[1:]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [1, 19])
@pytest.mark.parametrize(("books", "bits"), BOOKS)
def test_triton_is_as_exact_as_its_type(books: int, bits: int, rows: int, dtype: torch.dtype) -> None:
    made = inputs.make(39, 136, rows, device="cpu", dtype=dtype, seed=3, books=books, bits=bits)
    weight = decode_additive(*made[1:]).double()
    exact = made.x.double() @ weight.T
    plain = (made.x @ weight.to(dtype).T).double() - exact
    found = run("matmul", made.x, layout.prepare(*made[1:]))
    assert (found.shape, found.dtype) == (exact.shape, dtype)
    assert (found.double() - exact).norm() <= 2 * plain.norm()


def test_what_the_kernels_cannot_decode_is_refused_with_the_reason() -> None:
    assert "groups of 8" in layout.supported(torch.zeros(1, 256, 4))
    assert "3 of 8" in layout.supported(torch.zeros(3, 256, 8))
    with pytest.raises(ValueError, match="2 of 10"):
        layout.prepare(torch.zeros(1, 1, 2), torch.zeros(2, 1024, 8), torch.ones(1))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1024, 2048, 16), (279, 344, 1), (2130, 144, 11), (64, 256, 20), (64, 256, 200)])
@pytest.mark.parametrize(("books", "bits"), BOOKS)
def test_cuda_is_as_exact_as_its_type(books, bits, shape, dtype):
    from qharness_kernels.codebook import cuda

    out_features, in_features, rows = shape
    made = inputs.make(out_features, in_features, rows, device="cuda", dtype=dtype, seed=4, books=books, bits=bits)
    weight, prepared = decode_additive(*made[1:]).double(), layout.prepare(*made[1:])
    exact = made.x.double() @ weight.T
    plain = (made.x @ weight.to(dtype).T).double() - exact
    found = cuda.matmul(made.x, prepared)
    assert (found.double() - exact).norm() <= 2 * plain.norm()
    assert torch.equal(found, cuda.matmul(made.x, prepared))
    rounded = (weight.to(dtype).double() - weight).norm()
    assert (cuda.dequantize(prepared, dtype).double() - weight).norm() <= 2 * rounded
