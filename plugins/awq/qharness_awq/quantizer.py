"""AWQ: search channel scales, fold them, then round each linear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qharness.calibration.blocks import hessians_by_block
from qharness.errors import MissingData
from qharness.quantization.base import HessianMap, LinearContext, ModelContext, Prepared
from qharness.quantization.gptq import GptqStep
from qharness.quantization.grid_linear import GridLinear
from qharness.rounding.grid import GridSpec, fitting_group, round_to_nearest
from qharness_awq.places import fold, places
from qharness_awq.search import search_scales

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from qharness_awq.options import Options


class Awq:
    """AWQ.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.grid = GridSpec(options.bits, options.grid, steps=options.clip_steps)
        self.gptq = GptqStep(self.grid, options.group_size, damping=options.damping)

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Search the scales of every block and fold them; the model's function stays the same.

        Raises:
            MissingData: There is neither calibration text nor a store of Hessians.
        """
        if not self.options.scale_steps:
            return Prepared()
        if context.hessians is None and not context.calibration.numel():
            raise MissingData(
                "AWQ searches its scales on calibration text and none was given; name some with `--text`."
            )
        names, options = context.architecture, self.options
        scales: dict[str, Tensor] = {}
        gains: dict[str, float] = {}
        walk = hessians_by_block(model, names, context.calibration, context.device, context.hessians)
        for index, (block, hessians) in enumerate(walk):
            for place in places(names, model.config):
                weights = [block.get_submodule(linear).get_parameter("weight").detach() for linear in place.linears]
                found = search_scales(
                    place, weights, hessians[place.linears[0]], self.grid, options.group_size, options.scale_steps
                )
                fold(block, place, found.scales)
                wide = place.widen(found.scales).double().cpu()
                for linear in place.linears:
                    scales[f"{names.blocks}.{index}.{linear}"] = wide
                gains[f"{index}.{place.source}"] = found.loss / max(found.loss_unscaled, 1e-30)
            context.progress(index + 1, model.config.num_hidden_layers, "searching channel scales")
        return Prepared(hessian_map=_hessian_map(scales), notes={"error_ratio": gains})

    @torch.no_grad()
    def quantize(self, linear: nn.Linear, context: LinearContext) -> GridLinear:
        """Round one scaled linear."""
        if self.options.rounding == "gptq":
            return self.gptq.quantize(linear, context)
        group = fitting_group(linear.in_features, self.options.group_size)
        weight = linear.weight.to(context.device)
        rounded = round_to_nearest(weight, self.grid, group, context.hessian)
        return GridLinear(rounded.codes, rounded.scales, self.grid, group, linear.bias)


def _hessian_map(scales: dict[str, Tensor]) -> HessianMap:
    def divide(name: str, hessian: Tensor) -> Tensor:
        inverse = 1 / scales[name].to(hessian.device)
        return (inverse[:, None] * hessian.double() * inverse).float()

    return divide
