"""GPTQ of one linear: the step that every method with a uniform grid and error feedback ends in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from qharness.quantization.grid_linear import GridLinear
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.grid import GridCode, GridSpec, fitting_group
from qharness.rounding.order import Order
from qharness.rounding.refit import refit_scales

if TYPE_CHECKING:
    from torch import nn

    from qharness.quantization.base import LinearContext

ActOrder = Literal["off", "groups", "columns"]


@dataclass(frozen=True)
class GptqStep:
    """GPTQ with a clipping search inside the loop and scales refitted behind it.

    Attributes:
        grid: Levels of a group and the clipping search.
        group_size: Columns that share a scale; the largest divisor of the input size up to it is taken.
        act_order: `off` walks the columns first to last; `groups` visits the groups, and the columns inside each, by
            their Hessian diagonal and stores nothing for it; `columns` sorts all columns by it before they are cut
            into groups, and stores the group of every column (`g_idx`).
        damping: Fraction of the Hessian's mean diagonal that is added to it.
        weighted: Whether the clipping search weighs errors by the Hessian's diagonal.
        refit: Whether scales are refitted by least squares once the codes are chosen.

    Source: Frantar et al., GPTQ, arXiv 2210.17323, algorithm 1; for `columns` the authors' `act-order`.
    """

    grid: GridSpec
    group_size: int = 64
    act_order: ActOrder = "groups"
    damping: float = 0.01
    weighted: bool = False
    refit: bool = True

    def quantize(self, linear: nn.Linear, context: LinearContext) -> GridLinear:
        """Quantize one linear; without a Hessian in the context it is rounded to nearest.

        Raises:
            UsageError: The group size is negative.
            IndefiniteHessian: The Hessian cannot be factored.
        """
        weight, hessian = linear.weight.detach().to(context.device).float(), context.hessian
        columns = None
        if self.act_order == "columns" and hessian is not None:
            columns = hessian.diagonal().argsort(descending=True, stable=True)
            weight, hessian = weight[:, columns], hessian[columns][:, columns]
        code = GridCode(self.grid, fitting_group(linear.in_features, self.group_size), weighted=self.weighted)
        order: Order = "activation" if self.act_order == "groups" else "natural"
        rounded = round_with_feedback(weight, hessian, code, order=order, damping=self.damping)
        codes, scales = rounded.indices, code.table()
        if self.refit and hessian is not None:
            scales = refit_scales(weight, hessian, codes, scales, self.grid, self.damping)
        if columns is None:
            return GridLinear(codes, scales, self.grid, code.group, linear.bias)
        back = columns.argsort()
        groups = torch.div(back, code.group, rounding_mode="floor")
        return GridLinear(codes[:, back], scales, self.grid, code.group, linear.bias, g_idx=groups)
