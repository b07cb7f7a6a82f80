"""Fit codebooks, codes and scales to one matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from qharness.rounding.code import Tile
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.kmeans import kmeans, nearest_centroids
from qharness_aqlm.options import Options
from qharness_aqlm.refit import refit_codebooks, refit_scales
from qharness_aqlm.scheme import Scheme
from qharness_aqlm.search import best_sums, search_codes, sum_of
from qharness_aqlm.state import Additive, squared_error

POINTS, POINTS_PER_CENTROID = 2**14, 64
"""More points than this move a centroid little; a 65536-word codebook would see 7 million in one matrix."""


@torch.no_grad()
def fit(weight: Tensor, hessian: Tensor, scheme: Scheme, options: Options, generator: Generator) -> Additive:
    """Approximate a matrix by sums of code words so that tr(E H E^T) is small.

    Codebooks start from residual k-means; codes from one walk with error feedback, which leaves a small part of
    the error of independent rounding and spares most rounds of the alternation that follows. It ends when a round gains
    less than `options.tolerance`.

    Args:
        weight: Shape (rows, columns), float32.
        hessian: Shape (columns, columns), float32.
        scheme: Its group divides the columns.
        options: Beam, rounds, steps, tolerance, damping.
        generator: On the device of `weight`.

    Returns:
        Codes, and codebooks and scales that float16 holds exactly.
    """
    damped = _damped(hessian, options.damping)
    state = _start(weight, damped.diagonal(), scheme, options, generator)
    code = _AdditiveCode(state, options.beam)
    state.codes = round_with_feedback(weight, damped, code, order="activation", damping=0.0).indices.contiguous()
    best = float("inf")
    for _ in range(options.rounds):
        refit_codebooks(state, weight, damped, options.refit_steps)
        refit_scales(state, weight, damped)
        search_codes(state, weight, damped, beam=options.beam, generator=generator)
        loss = float(squared_error(weight - state.weight(), damped).sum(dtype=torch.float64))
        if not loss < best * (1 - options.tolerance):
            break
        best = loss
    state.codebooks = _stored(state.codebooks)
    refit_scales(state, weight, damped)
    state.scales = _stored(state.scales)
    return state


@dataclass
class _AdditiveCode:
    """Sums of code words for the rounding loop; the codebooks are fixed beforehand."""

    state: Additive
    beam: int
    group: int = 0

    def __post_init__(self) -> None:
        books, count, size = self.state.codebooks.shape
        self.tile, self.bits = Tile(1, size), books * (count.bit_length() - 1) / size
        self.metric = torch.eye(size, device=self.state.codebooks.device)

    def begin_group(self, index: int, weights: Tensor, importance: Tensor) -> None:
        """Keep the scales of the rows."""

    def begin_tile(self, metric: Tensor) -> None:
        """Take the metric of the next tile; its size does not matter, and one near 1 is kind to float32."""
        self.metric = metric / metric.diagonal().mean()

    def encode(self, weights: Tensor) -> Tensor:
        target = (weights / self.state.scales[:, None]) @ self.metric
        return best_sums(target, self.metric, self.state.codebooks, None, self.beam)

    def decode(self, indices: Tensor) -> Tensor:
        return self.state.scales[:, None] * sum_of(indices, self.state.codebooks)


def _start(weight: Tensor, importance: Tensor, scheme: Scheme, options: Options, generator: Generator) -> Additive:
    scales = weight.square().mean(1).sqrt()
    scales = torch.where(scales > 0, scales, 1.0)
    residual = (weight / scales[:, None]).view(-1, scheme.group).clone()
    # A vector's squared error counts with its row's scale and its inputs' second moments.
    mass = scales.square()[:, None] * importance.view(-1, scheme.group).mean(1)
    sample = _sample(len(residual), max(POINTS, POINTS_PER_CENTROID * 2**scheme.bits), generator)
    books = []
    for _ in range(scheme.codebooks):
        found = kmeans(
            residual[sample],
            2**scheme.bits,
            weights=mass.flatten()[sample],
            generator=generator,
            iterations=options.kmeans_iterations,
            tolerance=3e-4,
        )
        books.append(found.centroids)
        if len(books) < scheme.codebooks:
            residual -= found.centroids[nearest_centroids(residual, found.centroids)[0]]
    codes = torch.zeros(
        len(weight), weight.shape[1] // scheme.group, scheme.codebooks, dtype=torch.int64, device=weight.device
    )
    return Additive(codes, torch.stack(books), scales)


def _sample(count: int, limit: int, generator: Generator) -> Tensor:
    if count <= limit:
        return torch.arange(count, device=generator.device)
    return torch.randperm(count, generator=generator, device=generator.device)[:limit]


def _damped(hessian: Tensor, damping: float) -> Tensor:
    mean = hessian.diagonal().mean()
    if not mean > 0:
        return torch.eye(len(hessian), device=hessian.device)
    damped = hessian.float() / mean
    damped.diagonal().add_(max(damping, 1e-6))
    return damped


def _stored(values: Tensor) -> Tensor:
    limit = torch.finfo(torch.float16).max
    return values.clamp(-limit, limit).half().float()
