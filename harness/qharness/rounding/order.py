"""The order in which the rounding loop walks the columns."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Order = Literal["natural", "reverse", "activation"]


def column_order(diagonal: Tensor, order: Order, group: int, tile: int) -> Tensor:
    """Return the columns in the order of the walk, shape (n,), int64.

    Groups stay whole and tiles stay in order inside, so nothing about the order has to be stored.
    `activation` visits the groups by their largest diagonal entry, and the tiles inside a group by their mean.

    Args:
        diagonal: Diagonal of the Hessian, shape (n,).
        order: `natural` first to last; `reverse` last to first; `activation` most important first.
        group: Columns per group; divides n.
        tile: Columns per tile; divides `group`.
    """
    columns = torch.arange(len(diagonal), device=diagonal.device).view(-1, group // tile, tile)
    if order == "reverse":
        columns = columns.flip(0, 1)
    elif order == "activation":
        importance = diagonal.view(columns.shape).float()
        inside = importance.mean(-1).argsort(dim=1, descending=True, stable=True)
        columns = columns.gather(1, inside[:, :, None].expand_as(columns))
        columns = columns[importance.amax((1, 2)).argsort(descending=True, stable=True)]
    return columns.reshape(-1)
