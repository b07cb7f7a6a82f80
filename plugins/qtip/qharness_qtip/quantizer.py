"""QTIP: incoherence processing, then LDLQ with tiles of a trellis code."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from qharness.distillation.slots import Slot, buffer_slot
from qharness.quantization.base import BlockContext, LinearContext, ModelContext, Prepared
from qharness.quantization.incoherence import hadamards, process_model, schedules, tunable, tunable_whole
from qharness.rounding.descent import coordinate_descent
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.scale import search_scales
from qharness_kernels.trellis import Trellis, gaussian_table
from qharness_kernels.trellis.reference import TileOrder
from qharness_qtip.code import TrellisCode
from qharness_qtip.linear import TrellisLinear
from qharness_qtip.options import STATE_BITS
from qharness_qtip.public import has_kernel_layout
from qharness_qtip.tiles import TILE

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture
    from qharness_qtip.options import Options

# The best scale hardly depends on the number of states, so it is searched with few.
SEARCH_STATE_BITS, SEARCH_ROWS = 10, 64
SEARCH_STEPS = ((1.0, 1.07, 1.14, 1.22),)


class Qtip:
    """QTIP.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.lut = gaussian_table() if options.code == "hyb" else None
        self.tuning, self.whole_tuning = schedules(options)
        self._codes: dict[tuple[int, str], TrellisCode] = {}

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Put a randomized Hadamard on both sides of every linear."""
        options, maps = self.options, hadamards(self.options)
        prepared = process_model(model, context.architecture, context.seed, hadamards=maps, device=context.device)
        length = options.state_bits(context.device)
        notes = {"trellis": f"L={length}, K={options.bits}, V={options.vector}, {options.code}"}
        if length < STATE_BITS:
            notes["not_the_reference"] = f"states of {length} bits; the published method has {STATE_BITS}"
        return replace(prepared, notes={**prepared.notes, **notes})

    def quantize(self, linear: nn.Linear, context: LinearContext) -> TrellisLinear:
        """Round one linear whose weight is processed already."""
        return self.quantize_stage({context.name: linear}, context)[context.name]

    def quantize_stage(self, linears: Mapping[str, nn.Linear], context: LinearContext) -> dict[str, TrellisLinear]:
        """Round the linears of one input in one pass: the more tiles in a column, the busier the search."""
        options, hessian, device = self.options, context.hessian, context.device
        weights = [linear.weight.detach().to(device).float() for linear in linears.values()]
        code = self._code(options.state_bits(device), device)
        scales = self._scales(weights, hessian, code, device)
        target = torch.cat([weight / scale for weight, scale in zip(weights, scales, strict=True)])
        rounded = round_with_feedback(target, hessian, code, order="reverse", damping=options.damping)
        if options.iterations and hessian is not None:
            rounded = coordinate_descent(
                target, hessian, code, rounded, iterations=options.iterations, damping=options.damping
            )
        table = None if self.lut is None else self.lut.to(device)
        found, start = {}, 0
        for (name, linear), scale in zip(linears.items(), scales, strict=True):
            own = slice(start, start + linear.out_features)
            tiles = slice(own.start // TILE.rows, own.stop // TILE.rows)
            factor = refit_factor(target[own], hessian, rounded.weight[own]) if options.refit else 1.0
            stored, payload = target.new_tensor([scale * factor]), rounded.indices[tiles].clone()
            found[name] = TrellisLinear(payload, stored, code.trellis, options.code, table, code.order, linear.bias)
            start = own.stop
        return found

    def finetune(self, block: nn.Module, context: BlockContext) -> None:
        """Train the weights that are left, the sign vectors and the tables.

        Source: Tseng et al., QTIP, arXiv 2406.11235, section 4.
        """
        options = self.options
        slots = tunable(block, context, weights=options.weight_rate, signs=options.sign_rate)
        if options.code == "hyb" and options.table_rate:
            slots += [table_slot(block, name, options.table_rate) for name in context.quantized]
        context.train(slots)

    def trained(
        self, model: PreTrainedModel, architecture: Architecture, tensors: MutableMapping[str, Tensor]
    ) -> list[Slot]:
        """Return the sign vectors, the norms, the tables and an untied head."""
        options = self.options
        slots = tunable_whole(
            model, architecture, tensors, weights=options.whole_weight_rate, signs=options.whole_sign_rate
        )
        if options.code == "hyb" and options.whole_table_rate:
            names = architecture.linears(model.config.num_hidden_layers)
            slots += [table_slot(model, name, options.whole_table_rate) for name in names]
        return slots

    def _code(self, state_bits: int, device: str) -> TrellisCode:
        key, options = (state_bits, device), self.options
        if key not in self._codes:
            trellis = Trellis(state_bits, options.bits, options.vector)
            order: TileOrder = "fragment" if has_kernel_layout(options.code, trellis, self.lut) else "rows"
            self._codes[key] = TrellisCode(trellis, options.code, self.lut, order, options.window, device)
        return self._codes[key]

    def _scales(self, weights: Sequence[Tensor], hessian: Tensor | None, code: TrellisCode, device: str) -> list[float]:
        sizes = [float(weight.square().mean().sqrt().clamp_min(1e-12)) for weight in weights]
        if self.options.scale:
            return [size / (code.rms * self.options.scale) for size in sizes]
        length = min(max(SEARCH_STATE_BITS, 2 * code.trellis.shift), code.trellis.state_bits)
        few, damping = self._code(length, device), self.options.damping
        found = search_scales(
            weights,
            hessian,
            few,
            starts=[size / few.rms for size in sizes],
            order="reverse",
            damping=damping,
            rows=SEARCH_ROWS,
            steps=SEARCH_STEPS,
        )
        return [scale * few.rms / code.rms for scale in found]


def refit_factor(weight: Tensor, hessian: Tensor | None, rounded: Tensor) -> float:
    """Return the factor f that minimises tr(E H E^T), E = weight - f rounded; 1 where that is no positive number.

    Rows of an incoherent matrix are alike, so that a scale of each row is not worth its bits.

    Args:
        weight: Shape (m, n).
        hessian: Shape (n, n); None takes the squared error.
        rounded: Shape (m, n).
    """
    image = rounded if hessian is None else rounded @ hessian
    factor = float((weight * image).sum() / (rounded * image).sum())
    return factor if math.isfinite(factor) and factor > 0 else 1.0


def table_slot(parent: nn.Module, name: str, rate: float) -> Slot:
    """Return the slot of the table of a quantized linear, named relative to `parent`."""
    layer = parent.get_submodule(name)
    assert isinstance(layer, TrellisLinear)
    return buffer_slot(layer, "lut", rate, f"{name}.lut")
