"""GPTQ's tensors: the same weights back, words as the format defines them, honest refusals."""

from __future__ import annotations

import pytest
import torch

from qharness.errors import CorruptArtifact, UsageError
from qharness.quantization.gptq import GptqStep
from qharness.quantization.grid_linear import GridLinear
from qharness.quantization.packing import pack
from qharness.rounding.grid import GridSpec, Scales
from qharness.testing.problems import make_problem
from qharness_gptq.packing import from_checkpoint, shift_zeros, to_checkpoint


def _layer(bits=2, grid="asymmetric", act_order="groups", bias=True):
    from qharness.quantization.base import LinearContext

    problem = make_problem(64, 128, bias=bias)
    step = GptqStep(GridSpec(bits, grid, steps=8), 32, act_order)
    return step.quantize(problem.linear, LinearContext("x", problem.hessian, None, torch.Generator(), "cpu"))


@pytest.mark.parametrize("form", ["gptq", "gptq_v2"])
@pytest.mark.parametrize("act_order", ["groups", "columns"])
@pytest.mark.parametrize("grid", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_checkpoint_gives_the_same_weights(bits, grid, act_order, form):
    layer = _layer(bits, grid, act_order)
    tensors = to_checkpoint(layer, form)
    shapes = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    assert shapes == {
        "qweight": ((128 * bits // 32, 64), torch.int32),
        "qzeros": ((4, 64 * bits // 32), torch.int32),
        "scales": ((4, 64), torch.float16),
        "g_idx": ((128,), torch.int32),
        "bias": ((64,), torch.float32),
    }
    again = from_checkpoint(tensors, bits, 32, form)
    assert torch.equal(again.dequantize(), layer.dequantize())
    assert torch.equal(again.bias, layer.bias)
    assert ("g_idx" in again.tensors()) == (act_order == "columns")


def test_words_hold_the_codes_of_one_output_along_the_input():
    codes = torch.randint(0, 4, (16, 32), generator=torch.Generator().manual_seed(0))
    zeros = torch.randint(1, 4, (16, 1), generator=torch.Generator().manual_seed(1)).float()
    layer = GridLinear(codes, Scales(torch.ones(16, 1), zeros), GridSpec(2), 32, None)
    tensors = to_checkpoint(layer, "gptq_v2")
    for row in range(2):
        for column in range(16):
            word = int(tensors["qweight"][row, column]) & 0xFFFFFFFF
            assert [word >> 2 * i & 3 for i in range(16)] == codes[column, 16 * row : 16 * row + 16].tolist()
    word = int(tensors["qzeros"][0, 0]) & 0xFFFFFFFF
    assert [word >> 2 * i & 3 for i in range(16)] == zeros[:, 0].tolist()
    first = int(to_checkpoint(layer, "gptq")["qzeros"][0, 0]) & 0xFFFFFFFF
    assert [first >> 2 * i & 3 for i in range(16)] == (zeros[:, 0] - 1).tolist()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_zeros_of_zero_survive_format_one(bits):
    words = pack(torch.arange(96).remainder(2**bits)[None].roll(1), bits)
    assert torch.equal(shift_zeros(shift_zeros(words, bits, -1), bits, 1), words)
    assert not torch.equal(shift_zeros(words, bits, -1), words)


def test_two_bit_format_one_differs_by_0x55555555():
    words = torch.tensor([[0, 1, -1, 2**31 - 1, -(2**31)]], dtype=torch.int32)
    expected = [(int(w) - 0x55555555) % 2**32 for w in words[0]]
    assert [int(w) % 2**32 for w in shift_zeros(words, 2, -1)[0]] == expected


def test_what_the_format_cannot_hold_is_refused():
    with pytest.raises(UsageError, match="integer zeros"):
        to_checkpoint(_layer(grid="midrise"), "gptq_v2")
    narrow = GridLinear(torch.zeros(20, 32), Scales(torch.ones(20, 1), torch.ones(20, 1)), GridSpec(2), 32, None)
    with pytest.raises(UsageError, match="whole 32-bit words"):
        to_checkpoint(narrow, "gptq_v2")
    tensors = to_checkpoint(_layer(), "gptq_v2")
    with pytest.raises(CorruptArtifact, match="lacks 'scales'"):
        from_checkpoint({k: v for k, v in tensors.items() if k != "scales"}, 2, 32, "gptq_v2")
    with pytest.raises(CorruptArtifact, match="should have shape"):
        from_checkpoint(tensors, 2, 64, "gptq_v2")
