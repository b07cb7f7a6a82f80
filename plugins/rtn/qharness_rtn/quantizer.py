"""Rounding to nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qharness.quantization.base import LinearContext, ModelContext, Prepared
from qharness.quantization.grid_linear import GridLinear
from qharness.rounding.grid import GridSpec, fitting_group, round_to_nearest

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from qharness_rtn import Options


class RoundToNearest:
    """Round every weight to the nearest level of its group's grid.

    Args:
        options: Bits, group size, clipping.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.grid = GridSpec(bits=options.bits, steps=80 if options.clip else 0)

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Leave the model as it is."""
        return Prepared()

    def quantize(self, linear: nn.Linear, context: LinearContext) -> GridLinear:
        """Quantize one linear."""
        group = fitting_group(linear.in_features, self.options.group_size)
        rounded = round_to_nearest(linear.weight.to(context.device), self.grid, group)
        return GridLinear(rounded.codes, rounded.scales, self.grid, group, linear.bias)
