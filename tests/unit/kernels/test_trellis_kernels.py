from __future__ import annotations

from functools import partial

import pytest
import torch

from qharness_kernels.interpreting import interpreted
from qharness_kernels.trellis import Trellis, decode_states, inputs, layout, reference

run = partial(interpreted, "qharness_kernels.trellis.triton")

CASES = [
    ("hyb", 2, "fragment", 16, 32, 144),
    ("hyb", 2, "rows", 16, 16, 128),
    ("hyb", 4, "fragment", 16, 16, 256),
    ("1mad", 3, "fragment", 16, 16, 128),
    ("mul1", 4, "rows", 12, 16, 128),
    ("3inst", 2, "fragment", 12, 16, 80),
    ("3inst", 2, "rows", 16, 48, 144),
]


def weights_of_lane(words: list[int], bits: int, state_bits: int, vector: int) -> list[int]:
    """The state of each of a lane's 32 weights, from its words and the first one of the lane after it."""
    ring = 0
    for word in words:
        ring = ring << 32 | word
    total = 32 * len(words)
    starts = [weight // vector * vector * bits for weight in range(32)]
    return [(ring >> (total - start - 16) & 0xFFFF) >> (16 - state_bits) for start in starts]


@pytest.mark.parametrize(("code", "bits", "order", "state_bits", "out_features", "in_features"), CASES)
def test_lanes_hold_the_operands_of_matrix_instructions(code, bits, order, state_bits, out_features, in_features):
    """What lane 4 g + t decodes is, for either order, its part of the rows that mma.m16n8k16 wants from it."""
    made = inputs.make(
        out_features, in_features, 1, device="cpu", dtype=torch.float16, seed=3, code=code, bits=bits,
        state_bits=state_bits, order=order,
    )  # fmt: skip
    prepared, vector = layout.prepare(*made[1:]), made.trellis.vector
    every = decode_states(code, torch.arange(1 << state_bits), None if made.lut is None else made.lut.float())
    lanes = (prepared.words.long() & 0xFFFFFFFF).permute(0, 1, 3, 2, 4).flatten(3).tolist()
    found = torch.full((out_features, len(lanes[0]) * layout.CHUNK), torch.nan)
    for tile, row in enumerate(lanes):
        for chunk, held in enumerate(row):
            for lane in range(layout.LANES):
                g, t = divmod(lane, 4)
                for unit in (0, 1):
                    own = held[lane][unit * bits : (unit + 1) * bits]
                    states = weights_of_lane([*own, held[(lane + 4) % 32][unit * bits]], bits, state_bits, vector)
                    values = [float(every[state, place % vector]) for place, state in enumerate(states)]
                    for place, value in enumerate(values):
                        if order == "rows":
                            i, k = 2 * g + place // 16, place % 16
                        else:
                            i, k = g + 8 * (place // 2 % 2), 2 * (place // 8) + 8 * (place // 4 % 2) + place % 2
                        found[tile * 16 + i, chunk * layout.CHUNK + unit * 64 + t * 16 + k] = value
    assert torch.equal(found[:, :in_features] * made.scale, reference.dequantize(*made[1:]))


@pytest.mark.parametrize(("code", "bits", "order", "state_bits", "out_features", "in_features"), CASES)
def test_triton_expands_the_reference_s_matrix(code, bits, order, state_bits, out_features, in_features):
    made = inputs.make(
        out_features, in_features, 1, device="cpu", dtype=torch.float16, seed=4, code=code, bits=bits,
        state_bits=state_bits, order=order,
    )  # fmt: skip
    found = run("dequantize", layout.prepare(*made[1:]), torch.float32)
    torch.testing.assert_close(found, reference.dequantize(*made[1:]), rtol=2**-22, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [1, 19])
@pytest.mark.parametrize("code", ["hyb", "1mad", "3inst", "mul1"])
def test_triton_is_as_exact_as_its_type(code: str, rows: int, dtype: torch.dtype) -> None:
    made = inputs.make(32, 144, rows, device="cpu", dtype=dtype, seed=5, code=code)
    weight = reference.dequantize(*made[1:]).double()
    exact = made.x.double() @ weight.T
    plain = (made.x @ weight.to(dtype).T).double() - exact
    found = run("matmul", made.x, layout.prepare(*made[1:]))
    assert (found.shape, found.dtype) == (exact.shape, dtype)
    assert (found.double() - exact).norm() <= 2 * plain.norm()


def test_what_the_kernels_cannot_decode_is_refused_with_the_reason() -> None:
    assert "not 5" in layout.supported(Trellis(16, 5, 1), "3inst", None)
    assert "1024" in layout.supported(Trellis(16, 2, 2), "hyb", torch.zeros(1024, 2))
    assert "'other'" in layout.supported(Trellis(16, 2, 1), "other", None)
    with pytest.raises(ValueError, match="2, 3 or 4 bits"):
        layout.prepare(torch.zeros(1, 1, 80, dtype=torch.int16), torch.ones(1), None, Trellis(16, 5, 1), "1mad", "rows")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1024, 2048, 16), (272, 336, 1), (2128, 144, 11), (64, 256, 20), (64, 256, 200)])
@pytest.mark.parametrize("order", ["fragment", "rows"])
@pytest.mark.parametrize("code", ["hyb", "1mad", "3inst", "mul1"])
def test_cuda_is_as_exact_as_its_type(code, order, shape, dtype):
    from qharness_kernels.trellis import cuda

    out_features, in_features, rows = shape
    made = inputs.make(out_features, in_features, rows, device="cuda", dtype=dtype, seed=6, code=code, order=order)
    weight, prepared = reference.dequantize(*made[1:]).double(), layout.prepare(*made[1:])
    exact = made.x.double() @ weight.T
    plain = (made.x @ weight.to(dtype).T).double() - exact
    found = cuda.matmul(made.x, prepared)
    assert (found.double() - exact).norm() <= 2 * plain.norm()
    assert torch.equal(found, cuda.matmul(made.x, prepared))
    rounded = (weight.to(dtype).double() - weight).norm()
    assert (cuda.dequantize(prepared, dtype).double() - weight).norm() <= 2 * rounded
