"""A quantizer and a runtime transform for tests: 8-bit rows, and a reversal of a linear's input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from qharness import hookimpl
from qharness.quantization.linear import QuantizedLinear
from qharness.records import QuantizerRecord, RuntimeTransformRecord
from qharness.transforms.sites import attach_at_site


class RowLinear(QuantizedLinear):
    """int8 codes and one float16 scale a row."""

    def __init__(self, codes, scales, bias):
        super().__init__()
        self.out_features, self.in_features = codes.shape
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", bias)

    @classmethod
    def quantize(cls, linear):
        weight = linear.weight.detach().float()
        scales = (weight.abs().amax(dim=1) / 127).to(torch.float16)
        codes = (weight / scales.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
        return cls(codes, scales, None if linear.bias is None else linear.bias.detach().clone())

    @classmethod
    def from_tensors(cls, tensors, spec):
        assert spec["bits"] == 8
        return cls(tensors["codes"], tensors["scales"], tensors.get("bias"))

    def spec(self):
        return {"bits": 8}

    def dequantize(self):
        return self.codes.float() * self.scales.float()[:, None]

    def stored_bits(self):
        return {"payload": 8 * self.codes.numel(), "scales": 16 * self.scales.numel()}


@dataclass(frozen=True)
class Options:
    bits: int = field(default=8, metadata={"help": "bits"})


class Reversal:
    """Reverses the input; the fused half reverses the weight's columns."""

    def __init__(self, entry, tensors):
        self.entry = entry

    def apply(self, x):
        return x.flip(-1)

    def attach(self, model):
        return attach_at_site(model, self.entry, self.apply)


def _create(options: Any):
    raise NotImplementedError


@hookimpl
def qharness_quantizers():
    yield QuantizerRecord(
        "toy", "", "", Options, _create, lambda: RowLinear, "none", "independent", ("mistral",), lambda o: 8.0
    )


@hookimpl
def qharness_runtime_transforms():
    yield RuntimeTransformRecord("reversal", "", ("linear_input",), Reversal)
