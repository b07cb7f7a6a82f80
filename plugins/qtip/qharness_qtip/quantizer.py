"""QTIP: incoherence processing, then LDLQ with tiles of a trellis code."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from qharness.distillation.slots import Slot, buffer_slot
from qharness.distillation.training import Schedule
from qharness.quantization.base import BlockContext, LinearContext, ModelContext, Prepared
from qharness.quantization.incoherence import process_model, tunable
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.scale import search_scale
from qharness_kernels.trellis import Trellis, gaussian_table
from qharness_qtip.code import TrellisCode
from qharness_qtip.linear import TrellisLinear
from qharness_qtip.tiles import TileOrder

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from qharness_qtip.options import Options

# The best scale hardly depends on the number of states, so it is searched with few.
SEARCH_STATE_BITS, SEARCH_ROWS = 10, 48
SEARCH_STEPS = ((0.9, 1.0, 1.1, 1.2), (0.95, 1.0, 1.05))


class Qtip:
    """QTIP.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.trellis = Trellis(options.L, options.bits, options.vector)
        self.lut = gaussian_table() if options.code == "hyb" else None
        # The published kernels read HYB tiles in the order of tensor-core fragments, others row by row.
        self.order: TileOrder = "fragment" if options.code == "hyb" else "rows"
        self.tuning = Schedule(options.epochs, options.batch) if options.epochs else None
        self._codes: dict[tuple[int, str], TrellisCode] = {}

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Put a randomized Hadamard on both sides of every linear."""
        prepared = process_model(
            model, context.architecture, context.seed, block=self.options.block, device=context.device
        )
        notes = {"trellis": f"L={self.options.L}, K={self.options.bits}, V={self.options.vector}, {self.options.code}"}
        if self.options.L < 16:
            notes["not_the_reference"] = f"states of {self.options.L} bits; the published method has 16"
        return replace(prepared, notes={**prepared.notes, **notes})

    def quantize(self, linear: nn.Linear, context: LinearContext) -> TrellisLinear:
        """Round one processed linear."""
        weight, hessian = linear.weight.detach().to(context.device).float(), context.hessian
        code = self._code(self.options.L, context.device)
        scale = self._scale(weight, hessian, code, context.device)
        rounded = round_with_feedback(weight / scale, hessian, code, order="reverse", damping=self.options.damping)
        if self.options.refit:
            scale *= refit_factor(weight / scale, hessian, rounded.weight)
        return TrellisLinear(
            rounded.indices,
            weight.new_tensor([scale]),
            self.trellis,
            self.options.code,
            None if self.lut is None else self.lut.to(context.device),
            self.order,
            linear.bias,
        )

    def finetune(self, block: nn.Module, context: BlockContext) -> None:
        """Train the weights that are left, the sign vectors and the tables.

        Source: Tseng et al., QTIP, arXiv 2406.11235, section 4.
        """
        options = self.options
        slots = tunable(block, context, weights=options.weight_lr, signs=options.sign_lr)
        if options.code == "hyb" and options.lut_lr:
            slots += [_lut_slot(block, name, options.lut_lr) for name in context.quantized]
        context.train(slots)

    def _code(self, state_bits: int, device: str) -> TrellisCode:
        key = (state_bits, device)
        if key not in self._codes:
            trellis = replace(self.trellis, state_bits=state_bits)
            self._codes[key] = TrellisCode(
                trellis, self.options.code, self.lut, self.order, self.options.window, device
            )
        return self._codes[key]

    def _scale(self, weight: Tensor, hessian: Tensor | None, code: TrellisCode, device: str) -> float:
        spread = float(weight.square().mean().sqrt().clamp_min(1e-12))
        if self.options.scale:
            return spread / (code.rms * self.options.scale)
        few = self._code(min(max(SEARCH_STATE_BITS, 2 * self.trellis.shift), self.options.L), device)
        found = search_scale(
            weight,
            hessian,
            few,
            start=spread / few.rms,
            order="reverse",
            damping=self.options.damping,
            rows=SEARCH_ROWS,
            steps=SEARCH_STEPS,
        )
        return found * few.rms / code.rms


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


def _lut_slot(block: nn.Module, name: str, rate: float) -> Slot:
    layer = block.get_submodule(name)
    assert isinstance(layer, TrellisLinear)
    return buffer_slot(layer, "lut", rate, f"{name}.lut")
