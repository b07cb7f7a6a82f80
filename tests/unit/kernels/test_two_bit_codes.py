"""Two-bit codes in tiles: the layout, the references, and the kernels against float64."""

from __future__ import annotations

from functools import partial
from importlib import import_module

import pytest
import torch

from qharness_kernels.e8p import e8p_decode
from qharness_kernels.interpreting import interpreted
from qharness_kernels.matvec.plan import plan

SMALL = (
    ("int2", 40, 256, {}),
    ("int2", 33, 576, {"group": 576}),
    ("int2", 24, 224, {"group": 32}),
    ("int2", 24, 192, {"group": 64, "ordered": False}),
    ("int2", 24, 768, {"group": 256}),
    ("e8p", 40, 136, {}),
    ("e8p", 20, 72, {"one_scale": True}),
    ("iq2_xxs", 40, 256, {}),
    ("iq2_xxs", 17, 768, {}),
)
LARGE = (
    *SMALL,
    ("int2", 520, 1024, {}),
    ("int2", 1024, 4096, {"ordered": False}),
    ("int2", 4096, 14336, {}),
    ("e8p", 520, 1032, {}),
    ("e8p", 14336, 4096, {}),
    ("iq2_xxs", 520, 1280, {}),
    ("iq2_xxs", 4096, 14336, {}),
)
TYPES = (torch.float16, torch.bfloat16)


def inputs(op, out_features, in_features, rows, dtype, device="cpu", **options):
    """Return x, the arguments of `prepare`, the prepared matrix and the weights."""
    part = partial(import_module, package=f"qharness_kernels.{op}")
    made = part(".inputs").make(out_features, in_features, rows, device=device, dtype=dtype, seed=rows, **options)
    arguments = {name: value for name, value in made._asdict().items() if name != "x"}
    return made.x, part(".layout").prepare(**arguments), part(".reference").dequantize(**arguments)


def error(found, exact):
    return float((found.double() - exact).norm() / exact.norm())


def assert_as_exact_as_plain(found, x, weight, factor=2.0):
    exact = x.double() @ weight.double().T
    assert (found.shape, found.dtype) == (exact.shape, x.dtype)
    assert error(found, exact) <= factor * error(x @ weight.to(x.dtype).T, exact)


@pytest.mark.parametrize(("op", "out_features", "in_features", "options"), SMALL)
def test_interpreted_kernels_give_the_weights_and_their_product(op, out_features, in_features, options):
    for dtype in TYPES:
        x, prepared, weight = inputs(op, out_features, in_features, 3, dtype, **options)
        run = partial(interpreted, f"qharness_kernels.{op}.triton")
        torch.testing.assert_close(run("dequantize", prepared, torch.float32), weight, rtol=1e-6, atol=1e-9)
        assert_as_exact_as_plain(run("matmul", x, prepared), x, weight)


def words_in_rows(payload, row, quarter):
    """Return the four words of the lane that holds a row of a tile and a quarter of its blocks of 32 columns."""
    return [int(word) & 0xFFFFFFFF for word in payload[row // 16, 0, 4 * (row % 8) + quarter]]


@pytest.mark.parametrize("row", [0, 5, 8, 15, 17])
def test_code_words_lie_where_the_layout_says(row):
    _, prepared, _ = inputs("e8p", 40, 128, 1, torch.float16)
    codes = inputs_of("e8p").codes[row]
    for quarter in range(4):
        words = words_in_rows(prepared.payload, row, quarter)
        pattern, sign = words[row // 8 % 2], words[2 + row // 8 % 2]
        for block in range(4):
            code = int(codes[4 * block + quarter]) & 0xFFFF
            assert (pattern >> 8 * block & 255, sign >> 8 * block & 255) == (code >> 8, code & 255)


def inputs_of(op):
    module = import_module(f"qharness_kernels.{op}.inputs")
    return module.make(40, 128, 1, device="cpu", dtype=torch.float16, seed=1)


def test_numbers_of_the_e8p_table_are_the_points():
    table = import_module("qharness_kernels.e8p.layout").table(torch.device("cpu")).long()
    codes = torch.arange(1 << 16)
    words = table[codes >> 8, 0] ^ table[codes & 255, 1]
    shifts = torch.tensor([4 * (i // 2) + 16 * (i % 2) for i in range(8)])
    points = ((words[:, None] >> shifts & 15) - 7.5) / 2
    assert torch.equal(points.float(), e8p_decode(codes))


def test_what_has_no_kernel_is_refused_with_the_reason():
    refuse = {op: import_module(f"qharness_kernels.{op}.layout").supported for op in ("int2", "e8p", "iq2_xxs")}
    assert "3 bits" in refuse["int2"](3, 128, 4096)
    assert "groups of 48" in refuse["int2"](2, 48, 4096 + 32)
    assert "4 bits" in refuse["e8p"](4, 4096)
    assert "Q2_K" in refuse["iq2_xxs"]("Q2_K")
    assert refuse["int2"](2, 128, 4096) == refuse["e8p"](2, 4096) == refuse["iq2_xxs"]("IQ2_XXS") == ""


@pytest.mark.parametrize("has_table", [False, True])
@pytest.mark.parametrize(
    ("out_features", "in_features"),
    [
        *((14336, 4096), (4096, 14336), (4096, 4096), (1024, 4096), (8, 8), (128256, 4096)),
        *((6144, 4096), (28672, 4096), (11008, 4096), (4096, 11008), (5120, 27648)),
    ],
)
def test_a_plan_fits_a_multiprocessor(out_features, in_features, has_table):
    from qharness_kernels.matvec.decode import Code, shared_bytes

    for rows in (1, 8, 9, 16):
        cut = plan(out_features, in_features, rows, has_table)
        assert 1 <= cut.row_tiles <= -(-out_features // 16)
        assert cut.warps * 32 <= 1024
        assert cut.split * cut.warps <= -(-in_features // 128)
        assert 1 <= cut.ahead <= 60
        assert cut.blocks * shared_bytes(Code(None, has_table), rows, cut) <= 227 * 1024


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [1, 3, 8, 16, 19, 130])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("op", "out_features", "in_features", "options"), LARGE)
def test_kernels_on_a_gpu(op, out_features, in_features, options, dtype, rows):
    x, prepared, weight = inputs(op, out_features, in_features, rows, dtype, "cuda", **options)
    for body in ("cuda", "triton"):
        module = import_module(f"qharness_kernels.{op}.{body}")
        assert error(module.dequantize(prepared, dtype), weight.double()) <= 1.01 * error(weight.to(dtype), weight)
        for spread in (1e-3, 1.0, 100.0):
            scaled = (x.float() * spread).to(dtype)
            poison = torch.full((rows, out_features), torch.nan, dtype=dtype, device="cuda")
            del poison
            found = module.matmul(scaled, prepared)
            assert_as_exact_as_plain(found, scaled, weight)
            assert torch.equal(found, module.matmul(scaled, prepared))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("op", ["int2", "e8p", "iq2_xxs"])
def test_columns_of_very_different_size_on_a_gpu(op, dtype):
    x, prepared, weight = inputs(op, 512, 8192, 8, dtype, "cuda")
    x = x * torch.logspace(-4, 2, 8192, device="cuda").to(dtype)
    for ordered in (x, x.flip(1)):
        found = import_module(f"qharness_kernels.{op}.cuda").matmul(ordered.contiguous(), prepared)
        assert_as_exact_as_plain(found, ordered, weight)


@pytest.mark.gpu
@pytest.mark.parametrize("op", ["int2", "e8p", "iq2_xxs"])
def test_a_compiled_graph_holds_the_operator(op):
    x, prepared, _ = inputs(op, 256, 512, 2, torch.float16, "cuda")
    matmul = import_module(f"qharness_kernels.{op}.cuda").matmul
    compiled = torch.compile(lambda x: matmul(x, prepared) + 1, fullgraph=True)
    assert torch.equal(compiled(x), matmul(x, prepared) + 1)
