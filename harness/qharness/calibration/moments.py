"""Second moments of the inputs of linears."""

from __future__ import annotations

import torch
from torch import Tensor


class SecondMoment:
    """Mean of x x^T over tokens, summed in float64 (the Hessian of the layer's squared output error, up to 2)."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.tokens = 0

    def add(self, x: Tensor) -> None:
        """Add inputs of shape (..., n); products are taken in float32, batches summed in float64."""
        flat = x.reshape(-1, x.shape[-1]).float()
        product = (flat.T @ flat).double()
        self.total = product if self.total is None else self.total.add_(product)
        self.tokens += len(flat)

    def mean(self) -> Tensor:
        """Return the mean, shape (n, n), float32, symmetric to the bit."""
        if self.total is None:
            raise ValueError("no inputs were seen")
        mean = self.total / self.tokens
        return ((mean + mean.T) / 2).float()


class RawInputs:
    """Inputs of a linear, kept on the CPU, at most `limit` tokens spread evenly over the calibration set."""

    def __init__(self, total: int, limit: int) -> None:
        self.stride = max(-(-total // limit), 1)
        self.kept: list[Tensor] = []
        self.seen = 0

    def add(self, x: Tensor) -> None:
        """Add inputs of shape (..., n)."""
        flat = x.reshape(-1, x.shape[-1])
        self.kept.append(flat[-self.seen % self.stride :: self.stride].cpu())
        self.seen += len(flat)

    def all(self) -> Tensor:
        """Return the kept inputs, shape (tokens, n)."""
        return torch.cat(self.kept)
