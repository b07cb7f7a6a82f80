"""The search for channel scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from qharness.rounding.grid import GridSpec, fitting_group, round_to_nearest
from qharness_awq.places import Place

SEARCH_CLIP_STEPS = 12


class Found(NamedTuple):
    """The best scales of a place, shape (channels of the source,), and the output error with and without them."""

    scales: Tensor
    loss: float
    loss_unscaled: float


@torch.no_grad()
def search_scales(
    place: Place, weights: Sequence[Tensor], hessian: Tensor, spec: GridSpec, group_size: int, steps: int
) -> Found:
    """Return the channel scales with the least squared error of the linears' outputs, tr(E H E^T) summed over them.

    Candidates are s = a^alpha and s = a^alpha / w^(1 - alpha), with a the root mean square of a channel's inputs, w the
    mean magnitude of its weights relative to their group, and alpha from 0 to 1. With alpha = 0 in the first family
    nothing is scaled, so the result is never worse than that.

    Args:
        place: Which channels share a scale.
        weights: Weights of the linears behind, each of shape (rows, n).
        hessian: Second moment of their inputs, shape (n, n), float32.
        spec: The grid; its clipping search is shortened here.
        group_size: Columns per group.
        steps: Number of steps between exponents 0 and 1.

    Source: Lin et al., AWQ, arXiv 2306.00978, section 3.2 (scales, grid search over alpha); the second family is
    AutoAWQ's.
    """
    quick = GridSpec(spec.bits, spec.grid, spec.zeros, min(spec.steps, SEARCH_CLIP_STEPS), spec.smallest, spec.norm)
    group = fitting_group(len(hessian), group_size)
    inputs = place.narrow(hessian.diagonal().clamp_min(0).sqrt()).clamp_min(1e-8)
    magnitude = place.narrow(_weight_magnitude(weights, group)).clamp_min(1e-8)
    best, least, unscaled = torch.ones_like(inputs), torch.inf, torch.inf
    for candidate in _candidates(inputs, magnitude, steps):
        wide = place.widen(candidate)
        loss = sum(_output_error(weight, hessian, wide, quick, group) for weight in weights)
        if unscaled is torch.inf:
            unscaled = loss
        if loss < least:
            best, least = candidate, loss
    return Found(best, least, unscaled)


def _candidates(inputs: Tensor, magnitude: Tensor, steps: int) -> Iterator[Tensor]:
    yield torch.ones_like(inputs)
    for step in range(1, steps + 1):
        alpha = step / steps
        yield _balanced(inputs**alpha)
        if step < steps:
            yield _balanced(inputs**alpha / magnitude ** (1 - alpha))


def _balanced(scales: Tensor) -> Tensor:
    """Return scales whose largest and smallest are inverse to each other, none beyond what float16 weights bear."""
    return (scales / (scales.max() * scales.min()).sqrt()).clamp(1e-4, 1e4)


def _weight_magnitude(weights: Sequence[Tensor], group: int) -> Tensor:
    stacked = torch.cat([weight.float().abs() for weight in weights])
    groups = stacked.unflatten(1, (-1, group))
    return (groups / groups.amax(-1, keepdim=True).clamp_min(1e-12)).flatten(1).mean(0)


def _output_error(weight: Tensor, hessian: Tensor, scales: Tensor, spec: GridSpec, group: int) -> float:
    scaled = weight.float() * scales
    found = round_to_nearest(scaled, spec, group)
    groups = found.codes.float().unflatten(1, (-1, group))
    decoded = ((groups - found.scales.zero[:, :, None]) * found.scales.scale[:, :, None]).flatten(1)
    error = (decoded - scaled) / scales
    return float(((error @ hessian) * error).sum())
