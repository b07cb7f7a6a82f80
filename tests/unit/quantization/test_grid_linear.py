"""Packed codes and the grid layer: exact round trips and honest sizes."""

from __future__ import annotations

import json

import pytest
import torch

from qharness.errors import CorruptArtifact
from qharness.quantization.grid_linear import GridLinear
from qharness.quantization.packing import pack, unpack, words_for
from qharness.rounding.grid import GridSpec, round_to_nearest


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 12, 24, 32])
@pytest.mark.parametrize("count", [1, 31, 32, 100])
def test_packing_is_exact(bits, count):
    codes = torch.randint(0, 2**bits, (5, count), generator=torch.Generator().manual_seed(bits))
    words = pack(codes, bits)
    assert words.dtype == torch.int32 and words.shape == (5, words_for(count, bits))
    found = unpack(words, bits, count)
    assert found.dtype == (torch.uint8 if bits <= 8 else torch.int32)
    assert torch.equal(found.long() & (2**bits - 1), codes)


def test_two_bit_words_hold_sixteen_codes_lowest_first():
    codes = torch.arange(16) % 4
    expected = sum(int(c) << (2 * i) for i, c in enumerate(codes))
    assert pack(codes[None], 2).item() % 2**32 == expected


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(
    ("grid", "zeros"),
    [("asymmetric", "packed"), ("asymmetric", "float16"), ("symmetric", "packed"), ("midrise", "packed")],
)
def test_layer_round_trip(bits, grid, zeros):
    torch.manual_seed(0)
    weight, bias = torch.randn(24, 96), torch.randn(24)
    spec = GridSpec(bits, grid, zeros)
    found = round_to_nearest(weight, spec, 32)
    layer = GridLinear(found.codes, found.scales, spec, 32, bias)
    scale, zero = (part.repeat_interleave(32, 1) for part in found.scales)
    expected = (found.codes - zero) * scale
    assert torch.equal(layer.dequantize(), expected)
    assert (weight - expected).square().mean() < 0.2
    again = GridLinear.from_tensors(layer.tensors(), json.loads(json.dumps(layer.spec())))
    x = torch.randn(3, 96)
    assert torch.equal(again(x), torch.nn.functional.linear(x, expected, bias))
    assert set(again.tensors()) == set(layer.tensors())


def test_stored_bits_count_scales_and_zeros():
    weight = torch.randn(64, 256)
    sizes = {}
    for grid, zeros in (("asymmetric", "packed"), ("asymmetric", "float16"), ("midrise", "packed")):
        spec = GridSpec(2, grid, zeros, steps=0)
        found = round_to_nearest(weight, spec, 64)
        bits = GridLinear(found.codes, found.scales, spec, 64, None).stored_bits()
        assert bits["payload"] == 2 * weight.numel()
        sizes[grid, zeros] = sum(bits.values()) / weight.numel()
    assert sizes == {
        ("asymmetric", "packed"): 2 + 18 / 64,
        ("asymmetric", "float16"): 2 + 32 / 64,
        ("midrise", "packed"): 2 + 16 / 64,
    }


def test_wrong_tensors_are_refused():
    found = round_to_nearest(torch.randn(8, 64), GridSpec(2), 32)
    layer = GridLinear(found.codes, found.scales, GridSpec(2), 32, None)
    tensors = layer.tensors()
    with pytest.raises(CorruptArtifact, match="scales"):
        GridLinear.from_tensors({**tensors, "scales": tensors["scales"][:, :1]}, layer.spec())
    del tensors["zeros"]
    with pytest.raises(CorruptArtifact, match="zeros"):
        GridLinear.from_tensors(tensors, layer.spec())


def test_group_indices_say_which_group_a_column_belongs_to():
    torch.manual_seed(0)
    weight, spec = torch.randn(32, 96), GridSpec(2)
    columns = torch.randperm(96)
    found = round_to_nearest(weight[:, columns], spec, 32)
    back = columns.argsort()
    groups = back // 32
    layer = GridLinear(found.codes[:, back], found.scales, spec, 32, None, g_idx=groups)
    scale, zero = (part[:, groups] for part in found.scales)
    assert torch.equal(layer.dequantize(), (found.codes[:, back] - zero) * scale)
    assert layer.stored_bits()["indices"] == 16 * 96
    again = GridLinear.from_tensors(layer.tensors(), json.loads(json.dumps(layer.spec())))
    assert torch.equal(again.dequantize(), layer.dequantize())
    with pytest.raises(CorruptArtifact, match="g_idx"):
        GridLinear.from_tensors({k: v for k, v in layer.tensors().items() if k != "g_idx"}, layer.spec())
    with pytest.raises(CorruptArtifact, match="each group 32 times"):
        GridLinear.from_tensors(layer.tensors() | {"g_idx": torch.zeros(96, dtype=torch.int16)}, layer.spec())
