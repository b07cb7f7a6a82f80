"""QuIP#: incoherence processing, then BlockLDLQ with a lattice code, coordinate descent, and scales."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qharness.quantization.base import BlockContext, LinearContext, ModelContext, Prepared
from qharness.quantization.incoherence import process_model, schedules, tunable, tunable_whole
from qharness.rounding.descent import coordinate_descent
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.refit import refit_rows
from qharness.rounding.scale import search_scale
from qharness_quip_sharp.codes import BEST_SCALE, LatticeCode
from qharness_quip_sharp.linear import LatticeLinear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.distillation.slots import Slot
    from qharness.models.architecture import Architecture
    from qharness_quip_sharp.options import Options

SEARCH_PASSES = 2
"""Passes of coordinate descent behind each candidate of the scale search."""


class QuipSharp:
    """QuIP# with its options bound.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tuning, self.whole_tuning = schedules(options)

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Put a randomized Hadamard on both sides of every linear."""
        block = self.options.hadamard_block
        return process_model(model, context.architecture, context.seed, block=block, device=context.device)

    def quantize(self, linear: nn.Linear, context: LinearContext) -> LatticeLinear:
        """Round one linear whose weight is processed already."""
        weight, hessian = linear.weight.detach().to(context.device).float(), context.hessian
        assert hessian is not None
        columns = weight.shape[1]
        weight, hessian = padded(weight, hessian)
        indices, scales = self.round(weight, hessian)
        return LatticeLinear(indices, scales, self.options.bits, columns, linear.bias)

    def round(self, weight: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
        """Return code words, shape (m, n / 8, 1 or 2), and scales, shape (m,) or (1,).

        Args:
            weight: Processed weight, shape (m, n), n a multiple of 8.
            hessian: Processed Hessian, shape (n, n).
        """
        options = self.options
        code, damping = LatticeCode(options.bits), options.damping
        size = float(weight.square().mean().sqrt().clamp_min(1e-12))
        scale = size / (options.scale or BEST_SCALE[options.bits])
        if not options.scale:
            passes = min(options.iterations, SEARCH_PASSES)
            scale = search_scale(weight, hessian, code, start=scale, order="reverse", damping=damping, descent=passes)
        scales = torch.full((1,), scale, device=weight.device)
        target = weight / scale
        rounded = round_with_feedback(target, hessian, code, order="reverse", damping=damping)
        if options.iterations:
            rounded = coordinate_descent(target, hessian, code, rounded, iterations=options.iterations, damping=damping)
        if options.row_scales:
            scales = scale * refit_rows(target, hessian, rounded.weight)
        return rounded.indices, scales

    def finetune(self, block: nn.Module, context: BlockContext) -> None:
        """Train the weights not quantized yet and the sign vectors."""
        context.train(tunable(block, context, weights=self.options.weight_rate, signs=self.options.sign_rate))

    def trained(
        self, model: PreTrainedModel, architecture: Architecture, tensors: MutableMapping[str, Tensor]
    ) -> list[Slot]:
        """Return the sign vectors and an untied head."""
        rates = {"weights": self.options.whole_weight_rate, "signs": self.options.whole_sign_rate}
        return tunable_whole(model, architecture, tensors, **rates)


def padded(weight: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and Hessian with columns of zeros up to a multiple of 8; they touch no other column."""
    extra = -weight.shape[1] % 8
    if not extra:
        return weight, hessian
    filler = torch.eye(extra, device=hessian.device) * hessian.diagonal().mean()
    return nn.functional.pad(weight, (0, extra)), torch.block_diag(hessian, filler)
