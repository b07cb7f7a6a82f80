"""Muon for the matrices of the layers (momentum orthogonalised by Newton-Schulz), AdamW for the rest.

Source: K. Jordan, "Muon: An optimizer for hidden layers in neural networks" (2024), the quintic iteration and
its coefficients.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """Approximate polar factor of a batch of matrices (n, rows, columns), rows <= columns, in bfloat16."""
    x = g.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        b = -4.7750 * a + 2.0315 * a @ a
        x = 3.4445 * x + b @ x
    return x


class Muon:
    """Muon over groups of equally shaped matrices; `state` is a dict of momentum tensors by parameter name."""

    def __init__(self, named: list[tuple[str, nn.Parameter]], momentum: float = 0.95, decay: float = 0.02) -> None:
        self.groups: dict[tuple[int, ...], list[tuple[str, nn.Parameter]]] = {}
        for name, p in named:
            self.groups.setdefault(tuple(p.shape), []).append((name, p))
        self.state = {name: torch.zeros_like(p) for name, p in named}
        self.momentum, self.decay = momentum, decay

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One update with learning rate lr."""
        for shape, members in self.groups.items():
            buffers = [self.state[name] for name, _ in members]
            grads = [p.grad for _, p in members]
            torch._foreach_mul_(buffers, self.momentum)
            torch._foreach_add_(buffers, grads)
            look = torch.stack([g + self.momentum * b for g, b in zip(grads, buffers, strict=True)])
            tall = shape[0] > shape[1]
            update = orthogonalise(look.mT if tall else look)
            update = (update.mT if tall else update).float() * max(1.0, shape[0] / shape[1]) ** 0.5
            params = [p for _, p in members]
            torch._foreach_mul_(params, 1.0 - lr * self.decay)
            torch._foreach_add_(params, list(update.unbind(0)), alpha=-lr)


def split(network: nn.Module) -> tuple[list[tuple[str, nn.Parameter]], list[nn.Parameter]]:
    """The matrices of the layers, and all other parameters."""
    matrices = [(n, p) for n, p in network.named_parameters() if p.dim() == 2 and ".layers." in n]
    chosen = {id(p) for _, p in matrices}
    return matrices, [p for p in network.parameters() if id(p) not in chosen]
