"""QuIP#: incoherence processing, then BlockLDLQ with a lattice code, coordinate descent, and scales."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qharness.distillation.slots import Slot, buffer_slot
from qharness.quantization.base import BlockContext, LinearContext, ModelContext, Prepared
from qharness.quantization.incoherence import (
    hadamards,
    process_model,
    random_signs,
    schedules,
    tunable,
    tunable_whole,
)
from qharness.rounding.descent import coordinate_descent
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.refit import refit_rows
from qharness.rounding.scale import search_scales
from qharness_quip_sharp.codes import BEST_SCALE, LatticeCode
from qharness_quip_sharp.fused import FusedLinear, Member, stack_weights
from qharness_quip_sharp.linear import LatticeLinear, stored

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
        self._last = "gate_proj"

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Put a randomized Hadamard on both sides of every linear, but not behind those that are fused."""
        self._last = context.architecture.gate
        maps, fused = hadamards(self.options), self.options.fused
        return process_model(
            model, context.architecture, context.seed, hadamards=maps, fused=fused, device=context.device
        )

    def quantize(self, linear: nn.Linear, context: LinearContext) -> LatticeLinear:
        """Round one linear whose weight is processed already."""
        return self._apart({context.name: linear}, context)[context.name]

    def quantize_stage(self, linears: Mapping[str, nn.Linear], context: LinearContext) -> Mapping[str, LatticeLinear]:
        """Round the linears of one input in one pass; with `fused`, as one matrix with one Hadamard across its rows."""
        if self.options.fused and len(linears) > 1:
            return self._fused(linears, context)
        return self._apart(linears, context)

    def _apart(self, linears: Mapping[str, nn.Linear], context: LinearContext) -> dict[str, LatticeLinear]:
        weights = [linear.weight.detach().to(context.device).float() for linear in linears.values()]
        rounded = self.round(weights, _hessian(context))
        bits = self.options.bits
        return {
            name: LatticeLinear(indices, scales, bits, linear.in_features, linear.bias)
            for (name, linear), (indices, scales) in zip(linears.items(), rounded, strict=True)
        }

    def _fused(self, linears: Mapping[str, nn.Linear], context: LinearContext) -> dict[str, FusedLinear]:
        # The public checkpoints have up before gate.
        order = sorted(linears, key=lambda name: name.endswith(self._last))
        weights = [linears[name].weight.detach().to(context.device).float() for name in order]
        stacked, sizes = stack_weights(weights)
        signs = random_signs(len(stacked), context.generator.initial_seed(), context.name).to(context.device)
        maps = hadamards(self.options)
        [(indices, scales)] = self.round([maps.of(signs).apply(stacked.T).T], _hessian(context))
        stack = stored(indices, scales, self.options.bits) | {"signs": signs, "fuse_scales": sizes}
        found, start = {}, 0
        for index, name in enumerate(order):
            linear, owner = linears[name], "" if name == context.name else context.name
            member = Member(index, start, linear.out_features)
            found[name] = FusedLinear(stack, member, self.options.bits, linear.in_features, maps, owner, linear.bias)
            start += linear.out_features
        return found

    def round(self, weights: Sequence[Tensor], hessian: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return code words, shape (m, n / 8, 1 or 2), and scales, shape (m,) or (1,), of each matrix.

        Args:
            weights: Processed weights, shapes (m, n).
            hessian: Processed Hessian, shape (n, n).
        """
        weights, hessian = padded(weights, hessian)
        options = self.options
        code, damping = LatticeCode(options.bits), options.damping
        scales = self._scales(weights, hessian, code)
        rows = [len(weight) for weight in weights]
        target = torch.cat([weight / scale for weight, scale in zip(weights, scales, strict=True)])
        rounded = round_with_feedback(target, hessian, code, order="reverse", damping=damping)
        if options.iterations:
            rounded = coordinate_descent(target, hessian, code, rounded, iterations=options.iterations, damping=damping)
        factors = refit_rows(target, hessian, rounded.weight) if options.row_scales else torch.ones_like(target[:, 0])
        parts = zip(rounded.indices.split(rows), scales, factors.split(rows), strict=True)
        return [(indices, scale * (own if options.row_scales else own[:1])) for indices, scale, own in parts]

    def _scales(self, weights: Sequence[Tensor], hessian: Tensor, code: LatticeCode) -> list[float]:
        options = self.options
        sizes = [float(weight.square().mean().sqrt().clamp_min(1e-12)) for weight in weights]
        starts = [size / (options.scale or BEST_SCALE[options.bits]) for size in sizes]
        if options.scale:
            return starts
        passes = min(options.iterations, SEARCH_PASSES)
        return search_scales(
            weights, hessian, code, starts=starts, order="reverse", damping=options.damping, descent=passes
        )

    def finetune(self, block: nn.Module, context: BlockContext) -> None:
        """Train the weights not quantized yet and the sign vectors."""
        slots = tunable(block, context, weights=self.options.weight_rate, signs=self.options.sign_rate)
        names = {name: f"{context.prefix}.{name}" for name in context.quantized}
        context.train(slots + sign_slots(block, names, self.options.sign_rate))

    def trained(
        self, model: PreTrainedModel, architecture: Architecture, tensors: MutableMapping[str, Tensor]
    ) -> list[Slot]:
        """Return the sign vectors, the norms and an untied head."""
        rates = {"weights": self.options.whole_weight_rate, "signs": self.options.whole_sign_rate}
        names = {name: name for name in architecture.linears(model.config.num_hidden_layers)}
        return tunable_whole(model, architecture, tensors, **rates) + sign_slots(model, names, rates["signs"])


def sign_slots(parent: nn.Module, names: Mapping[str, str], rate: float) -> list[Slot]:
    """Return the slots of the sign vectors of fused stacks, one for all members of each.

    Args:
        parent: The block, or the model.
        names: Full names of the quantized linears by their names in `parent`.
        rate: Learning rate.
    """
    fused = {full: parent.get_submodule(name) for name, full in names.items()}
    fused = {full: layer for full, layer in fused.items() if isinstance(layer, FusedLinear)}
    slots = []
    for full, layer in fused.items():
        assert isinstance(layer, FusedLinear)
        if not layer.shared:
            sharing = [other for other in fused.values() if isinstance(other, FusedLinear)]
            sharing = [other for other in sharing if other.shared.get("signs") == full]
            slots.append(buffer_slot(layer, "signs", rate, f"{full}.signs", torch.float16, sharing))
    return slots


def padded(weights: Sequence[Tensor], hessian: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return weights and Hessian with columns of zeros up to a multiple of 8; they touch no other column."""
    extra = -len(hessian) % 8
    if not extra:
        return list(weights), hessian
    filler = torch.eye(extra, device=hessian.device) * hessian.diagonal().mean()
    return [nn.functional.pad(weight, (0, extra)) for weight in weights], torch.block_diag(hessian, filler)


def _hessian(context: LinearContext) -> Tensor:
    assert context.hessian is not None
    return context.hessian
