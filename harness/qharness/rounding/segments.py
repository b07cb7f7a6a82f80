"""Sums over points that share a label, in one order on every device."""

from __future__ import annotations

import torch
from torch import Tensor


class Segments:
    """Points grouped by label, for repeated sums.

    Scattered additions on a GPU have no fixed order, so their last bits differ from run to run; sums over sorted
    segments do not.

    Args:
        labels: Shape (points,), int64, 0 .. count - 1.
        count: Number of labels.

    Attributes:
        sizes: Points per label, shape (count,), int64.
    """

    def __init__(self, labels: Tensor, count: int) -> None:
        self.order = labels.argsort(stable=True)
        self.sizes = torch.bincount(labels, minlength=count)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of the values of each label, shape (count, dimension); zero where there is no point.

        Args:
            values: Shape (points, dimension), floating point.
        """
        return torch.segment_reduce(values[self.order], "sum", lengths=self.sizes, axis=0, unsafe=True)
