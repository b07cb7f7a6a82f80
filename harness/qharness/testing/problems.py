"""Small linear layers with correlated inputs, as a calibration would see them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qharness.quantization.base import LinearContext
from qharness.records import QuantizerRecord

NAME = "model.layers.0.mlp.down_proj"
TOKENS = 512


@dataclass(frozen=True)
class Problem:
    """A linear layer to quantize.

    Attributes:
        linear: The layer, float32.
        inputs: Calibration inputs, shape (TOKENS, in_features), float32, with correlated features.
        hessian: Mean of x x^T over the inputs, shape (in_features, in_features), float32.
    """

    linear: nn.Linear
    inputs: Tensor
    hessian: Tensor


def make_problem(out_features: int, in_features: int, *, bias: bool, seed: int = 0) -> Problem:
    """Return a layer of that size; equal seeds give equal problems."""
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(in_features, out_features, bias=bias)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(out_features, in_features, generator=generator) * in_features**-0.5)
        if bias:
            linear.bias.copy_(torch.randn(out_features, generator=generator))
    mixing = torch.randn(in_features, in_features, generator=generator) * in_features**-0.5
    inputs = torch.randn(TOKENS, in_features, generator=generator) @ (torch.eye(in_features) + mixing)
    return Problem(linear, inputs, inputs.T @ inputs / TOKENS)


def make_context(problem: Problem, record: QuantizerRecord, seed: int = 0) -> LinearContext:
    """Return what the host would hand to `quantize`: only what the record says that the method needs."""
    return LinearContext(
        name=NAME,
        hessian=problem.hessian.clone() if record.needs == "hessian" else None,
        inputs=problem.inputs.clone() if record.needs == "inputs" else None,
        generator=torch.Generator().manual_seed(seed),
        device="cpu",
    )
