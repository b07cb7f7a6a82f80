"""What serves a quantized linear, and that it is what is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn

from qharness.quantization.grid_linear import GridLinear
from qharness.quantization.linear import QuantizedLinear
from qharness.rounding.grid import GridSpec, Scales
from qharness_kernels import registry
from qharness_kernels.interpreting import interpreted
from qharness_kernels.registry import Implementation, KernelUnavailable


class Interpreted:
    """The Triton kernels of an operation, in the interpreter's process."""

    def __init__(self, op: str) -> None:
        self.op = op
        self.rows: list[int] = []

    def matmul(self, x: Tensor, prepared: Any) -> Tensor:
        self.rows.append(len(x))
        return interpreted(f"qharness_kernels.{self.op}.triton", "matmul", x, prepared)


class Unpacked(QuantizedLinear):
    """A layer without an operation."""

    in_features = out_features = 2
    bias = None

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> Self:
        raise NotImplementedError

    def spec(self) -> dict[str, Any]:
        return {}

    def dequantize(self) -> Tensor:
        return torch.eye(2)

    def stored_bits(self) -> dict[str, int]:
        return {}


def grid_layer(bits: int = 2, bias: bool = True) -> GridLinear:
    draw = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 2**bits, (40, 128), generator=draw, dtype=torch.uint8)
    scale = torch.rand(40, 2, generator=draw) / 16
    zero = torch.randint(0, 2**bits, (40, 2), generator=draw).float()
    spec = GridSpec(bits=bits, grid="asymmetric", zeros="packed")
    return GridLinear(codes, Scales(scale, zero), spec, 64, torch.randn(40, generator=draw) if bias else None)


@pytest.fixture
def kernel(monkeypatch):
    """A GPU's choice of kernels, computed by the interpreter."""
    fake = Interpreted("int2")
    monkeypatch.setattr(registry, "_cuda_obstacle", lambda device: "")
    monkeypatch.setattr(Implementation, "load", lambda self: fake)
    return fake


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_the_product_is_the_kernels(kernel, dtype):
    layer, x = grid_layer(), torch.randn(2, 3, 128).to(dtype)
    expected = nn.functional.linear(x.double(), layer.dequantize().double(), layer.bias.double())
    assert layer.use_kernels("auto", torch.device("cuda"), dtype) == ("int2", "cuda", "")
    found = layer(x)
    assert kernel.rows == [6]
    assert (found.shape, found.dtype) == ((2, 3, 40), dtype)
    assert (found.double() - expected).norm() < 2 * torch.finfo(dtype).eps * expected.norm()
    assert layer.use_kernels("reference", torch.device("cuda"), dtype) == ("int2", "reference", "")
    layer(x)
    assert kernel.rows == [6]


def test_it_can_be_compiled(kernel):
    layer, x = grid_layer(), torch.randn(4, 128).half()
    layer.use_kernels("auto", torch.device("cuda"), torch.float16)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), layer(x))
    assert kernel.rows == [4, 4]


def test_why_not_a_kernel(kernel):
    layer, cuda = grid_layer(bits=3), torch.device("cuda")
    reason = "codes of 3 bits have no kernel, only those of 2"
    assert layer.use_kernels("auto", cuda, torch.float16) == ("int2", "reference", reason)
    reason = "kernels take float16 and bfloat16, not float32"
    assert grid_layer().use_kernels("auto", cuda, torch.float32) == ("int2", "reference", reason)
    with pytest.raises(KernelUnavailable, match=reason):
        grid_layer().use_kernels("triton", cuda, torch.float32)
    assert Unpacked().use_kernels("auto", cuda, torch.float16) == ("", "reference", "this layer has no kernel")
    with pytest.raises(KernelUnavailable, match="Unpacked has no kernel"):
        Unpacked().use_kernels("triton", cuda, torch.float16)


def test_autocast_keeps_the_weight_in_its_own_type_whatever_comes_in():
    layer, x = grid_layer(), torch.randn(3, 128)
    layer.cache_weight(True)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16 and layer._kept.dtype == torch.bfloat16
    assert layer(x).dtype == torch.float32 and layer._kept.dtype == torch.float32
