"""Learn a butterfly for the linears that share an input.

The loss is the relative output error of the quantized rotated weights, tr(E H E^T) / tr(W H W^T) with
E = W - Q(W B^T) B, plus a weight times the divergence KL(P || uniform), P being the distribution of the rotated
inputs over bins. Rounding passes gradients straight through.

Source: ButterflyQuant, arXiv 2509.09679, equation 17. There both terms are taken on sampled inputs; here the first is
exact for all calibration tokens, through the Hessian.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qharness_butterfly.butterfly import Butterfly

MOMENTUM = 0.9
BINS = 16
REACH = 3.0
"""Bins cover this many root mean squares on both sides."""
CHECKS = 8
"""How often the loss on all rows is looked at, to keep the best."""

Quantize = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Task:
    """What a butterfly is learned for.

    Attributes:
        weight: Weights of the linears that share the input, stacked, shape (rows, n), float32.
        hessian: Second moment of the input, shape (n, n).
        inputs: Inputs, shape (tokens, n).
        quantize: Rounds rotated weights, differentiably.
    """

    weight: Tensor
    hessian: Tensor
    inputs: Tensor
    quantize: Quantize

    def reconstruction(self, butterfly: Butterfly, rows: Tensor | None = None) -> Tensor:
        """Return the relative output error on some rows, or on all."""
        weight = self.weight if rows is None else self.weight[rows]
        error = weight - butterfly.apply(self.quantize(butterfly.apply(weight)), inverse=True)
        return ((error @ self.hessian) * error).sum() / ((weight @ self.hessian) * weight).sum().clamp_min(1e-30)


@dataclass(frozen=True)
class Learned:
    """A butterfly with its losses: relative output error on all rows, before and after."""

    butterfly: Butterfly
    before: float
    after: float


def divergence_from_uniform(values: Tensor) -> Tensor:
    """Return KL(P || uniform) of values over bins within three root mean squares, in nats; differentiable.

    Args:
        values: Shape (tokens, n).
    """
    scaled = (values / values.square().mean().sqrt().clamp_min(1e-12)).clamp(-REACH, REACH)
    width = 2 * REACH / BINS
    # Linear sharing between the two nearest bins keeps the counts differentiable.
    place = ((scaled + REACH) / width - 0.5).clamp(0, BINS - 1)
    low = place.detach().floor().clamp(max=BINS - 2)
    part = place - low
    flat = low.long().flatten()
    counts = values.new_zeros(BINS).index_add(0, flat, (1 - part).flatten()).index_add(0, flat + 1, part.flatten())
    share = counts / counts.sum()
    return (share * (share.clamp_min(1e-12) * BINS).log()).sum()


def learn(
    task: Task,
    begin: Butterfly,
    *,
    steps: int,
    rate: float,
    uniformity: float,
    rows: int,
    tokens: int,
    generator: torch.Generator,
) -> Learned:
    """Return the best butterfly found by SGD, never one with more output error than the start has.

    Args:
        task: Weights and inputs.
        begin: Where to start.
        steps: Number of steps.
        rate: Learning rate, annealed by a cosine.
        uniformity: Weight of the divergence.
        rows: Rows a step sees.
        tokens: Inputs a step sees.
        generator: Draws rows and inputs; on the CPU.
    """
    device = task.weight.device
    parameters = [part.to(device).clone().requires_grad_() for part in begin]
    optimizer = torch.optim.SGD(parameters, lr=rate, momentum=MOMENTUM)

    def total() -> float:
        with torch.no_grad():
            return float(task.reconstruction(Butterfly(*parameters).stored()))

    best, least = begin.stored(), total()
    before = least
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        own = Butterfly(*parameters)
        loss = task.reconstruction(own, _draw(len(task.weight), rows, generator).to(device))
        if uniformity:
            seen = task.inputs[_draw(len(task.inputs), tokens, generator)].to(device).float()
            loss = loss + uniformity * divergence_from_uniform(own.apply(seen))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % max(steps // CHECKS, 1) == 0 or step + 1 == steps:
            value = total()
            if value < least:
                best, least = Butterfly(*parameters).stored(), value
    return Learned(Butterfly(*(part.cpu() for part in best)), before, least)


def _draw(count: int, wanted: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator)[: min(wanted, count)]
