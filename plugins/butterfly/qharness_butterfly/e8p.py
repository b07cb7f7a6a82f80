"""Butterflies with the E8P code book of QuIP#, in place of its randomized Hadamards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qharness.quantization.base import LinearContext, ModelContext, Prepared
from qharness.rounding.refit import unbiased_rows
from qharness_butterfly.learning import Quantize
from qharness_butterfly.quantizer import Rotation
from qharness_kernels.e8p import e8p_decode, e8p_encode
from qharness_quip_sharp.codes import BEST_SCALE
from qharness_quip_sharp.linear import LatticeLinear
from qharness_quip_sharp.options import Options as QuipOptions
from qharness_quip_sharp.quantizer import QuipSharp

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness_butterfly.options import E8pOptions

VECTOR = 8


class ButterflyE8p:
    """Learned butterflies and E8P.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: E8pOptions) -> None:
        self.options = options
        self.rounding = QuipSharp(QuipOptions(bits=2, iterations=options.iterations, damping=options.damping))
        self.rotation = Rotation(options, _rounding)

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Learn the butterflies and rotate the weights."""
        return self.rotation.prepare(model, context)

    def quantize(self, linear: nn.Linear, context: LinearContext) -> LatticeLinear:
        """Round one rotated linear."""
        weight, hessian = linear.weight.detach().to(context.device).float(), context.hessian
        assert hessian is not None
        [(indices, scales)] = self.rounding.round([weight], hessian)
        layer = LatticeLinear(indices, scales, 2, weight.shape[1], linear.bias)
        if not self.options.unbiased:
            return layer
        factor = unbiased_rows(weight, hessian, layer.dequantize())
        return LatticeLinear(indices, scales * factor, 2, weight.shape[1], linear.bias)


def _rounding(columns: int) -> Quantize:
    """Return rounding to the nearest points with one scale a row, differentiable through weights and scales."""

    def quantize(weight: Tensor) -> Tensor:
        scale = weight.square().mean(1, keepdim=True).sqrt().clamp_min(1e-12) / BEST_SCALE[2]
        scaled = nn.functional.pad(weight / scale, (0, -columns % VECTOR))
        with torch.no_grad():
            points = e8p_decode(e8p_encode(scaled.unflatten(1, (-1, VECTOR)))).flatten(1)
        return ((scaled + (points - scaled).detach())[:, :columns]) * scale

    return quantize
