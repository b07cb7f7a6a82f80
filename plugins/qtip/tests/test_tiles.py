"""Tiles, the layer and its size."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig

from qharness.artifacts.bits import account
from qharness.errors import CorruptArtifact
from qharness.models.architecture import architecture_of
from qharness_kernels.trellis import Trellis, decode_states, gaussian_table
from qharness_kernels.trellis.reference import from_sequences, positions
from qharness_qtip.linear import TrellisLinear
from qharness_qtip.tiles import to_sequences

BIELIK = {"q": (4096, 4096), "k": (1024, 4096), "v": (1024, 4096), "o": (4096, 4096)} | {
    "gate": (14336, 4096),
    "up": (14336, 4096),
    "down": (4096, 14336),
}


@pytest.mark.parametrize("order", ["rows", "fragment"])
def test_tiles_come_back(order):
    weights = torch.arange(48 * 32).view(48, 32)
    sequences = to_sequences(weights, order)
    assert sequences.shape == (3, 2, 256)
    assert sequences[1, 1].sort().values.tolist() == weights[16:32, 16:32].flatten().sort().values.tolist()
    assert torch.equal(from_sequences(sequences, order), weights)


def test_fragments_are_those_of_the_tensor_core_instruction():
    """PTX ISA, mma.m16n8k16, matrix A: lane l holds rows l / 4 and l / 4 + 8, columns 2 (l % 4) + (0, 1) and + 8."""
    found = positions("fragment", torch.device("cpu")).view(32, 8)
    for lane in range(32):
        row, column = lane // 4, 2 * (lane % 4)
        places = [(row + 8 * (i // 2 % 2)) * 16 + column + 8 * (i // 4) + i % 2 for i in range(8)]
        assert found[lane].tolist() == places


def _layer(rows, columns, code="hyb", bits=2, device="cpu"):
    payload = torch.zeros(rows // 16, columns // 16, 16 * bits, dtype=torch.int16, device=device)
    lut = gaussian_table().to(device) if code == "hyb" else None
    trellis = Trellis(16, bits, 2 if code == "hyb" else 1)
    return TrellisLinear(payload, torch.ones(1, device=device), trellis, code, lut, "fragment", None)


@pytest.mark.parametrize("code", ["hyb", "3inst"])
@pytest.mark.parametrize("signs", [torch.int8, torch.float16])
def test_a_layer_of_bielik_takes_at_most_2_011_bits_per_weight(code, signs):
    layers = {name: _layer(*shape, code, device="meta") for name, shape in BIELIK.items()}
    stages = architecture_of(LlamaConfig()).stages()
    inputs = {stage[0]: BIELIK[stage[0].rpartition(".")[2].removesuffix("_proj")][1] for stage in stages}
    outputs = {name: rows for name, (rows, _) in BIELIK.items()}
    vectors = {f"{side}.{name}": torch.empty(size, dtype=signs, device="meta")
               for side, sizes in (("in", inputs), ("out", outputs)) for name, size in sizes.items()}  # fmt: skip
    found = account(layers, vectors, {})
    assert all(parts["payload"] == 2 * BIELIK[name][0] * BIELIK[name][1] for name, parts in found.modules.items())
    assert found.stored_bpw <= 2.011


def test_the_weight_is_the_states_values_times_the_scale():
    generator = torch.Generator().manual_seed(0)
    payload = torch.randint(-(2**15), 2**15, (2, 3, 32), generator=generator).to(torch.int16)
    scale = torch.tensor([0.37])
    lut = gaussian_table()
    layer = TrellisLinear(payload, scale, Trellis(16, 2, 2), "hyb", lut, "fragment", None)
    bits = "".join(f"{int(word) % 2**16:016b}" for word in payload[1, 2]) * 2
    weight = layer.dequantize()
    for step in (0, 1, 63, 125, 126, 127):
        state = int(bits[4 * step : 4 * step + 16], 2)
        pair = decode_states("hyb", torch.tensor(state), lut.float())
        for place, value in zip((2 * step, 2 * step + 1), pair, strict=True):
            row, column = divmod(int(positions("fragment", torch.device("cpu"))[place]), 16)
            assert float(weight[16 + row, 32 + column]) == float(value * scale)


def test_tensors_of_a_wrong_shape_are_refused():
    layer = _layer(32, 48)
    for name in ("trellis", "scale", "lut"):
        tensors = layer.tensors()
        tensors[name] = tensors[name][:0]
        with pytest.raises(CorruptArtifact, match=name):
            TrellisLinear.from_tensors(tensors, layer.spec())


def test_the_table_gets_a_gradient():
    layer = _layer(32, 32)
    layer.trellis.random_(-(2**15), 2**15, generator=torch.Generator().manual_seed(0))
    table = layer.lut.float().requires_grad_(True)
    layer._buffers["lut"] = table
    layer.dequantize().square().sum().backward()
    assert table.grad is not None and table.grad.abs().sum() > 0
