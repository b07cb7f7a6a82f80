"""Weighted k-means: the initialisation of every learned codebook.

Seeds are drawn as in k-means++ (Arthur and Vassilvitskii 2007, section 2.2): a point becomes a seed with a probability
proportional to its weighted squared distance from the seeds so far. Large codebooks draw several seeds a round, as
k-means|| does (Bahmani et al., arXiv 1203.6402, algorithm 2), and go straight on to Lloyd's iterations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from qharness.rounding.segments import Segments

ROUNDS = 256
DISTANCES_AT_ONCE = {"cpu": 2**22, "cuda": 2**28}


class Clusters(NamedTuple):
    """Outcome of k-means.

    Attributes:
        centroids: Shape (count, dimension), float32.
        labels: Nearest centroid of each point, shape (points,), int64.
        loss: Weighted sum of squared distances.
    """

    centroids: Tensor
    labels: Tensor
    loss: float


@torch.no_grad()
def kmeans(
    points: Tensor,
    count: int,
    *,
    generator: Generator,
    weights: Tensor | None = None,
    iterations: int = 100,
    tolerance: float = 1e-4,
) -> Clusters:
    """Cluster points so that the weighted sum of squared distances to the nearest centroid is small.

    The result depends on the arguments and the generator alone, on a GPU too. A centroid that loses all its points
    moves to the point that is worst served.

    Args:
        points: Shape (points, dimension); computed in float32 on its device.
        count: Number of centroids. With at least as many centroids as points every point gets its own and the rest
            are zero.
        generator: On the device of `points`.
        weights: Not negative, shape (points,); all one if None.
        iterations: Most Lloyd iterations.
        tolerance: Stop when an iteration lowers the loss by less than this fraction.
    """
    points = points.float()
    if weights is None:
        weights = torch.ones(len(points), device=points.device)
    weights = weights.to(points)
    if count >= len(points):
        centroids = torch.cat([points, points.new_zeros(count - len(points), points.shape[1])])
        return Clusters(centroids, torch.arange(len(points), device=points.device), 0.0)
    centroids = _seeds(points, weights, count, generator)
    labels, distances = nearest_centroids(points, centroids)
    loss = float((weights * distances).sum(dtype=torch.float64))
    for _ in range(iterations):
        moved = _means(points, weights, labels, distances, centroids)
        new_labels, new_distances = nearest_centroids(points, moved)
        new_loss = float((weights * new_distances).sum(dtype=torch.float64))
        if new_loss >= loss:
            break
        gain, loss = loss - new_loss, new_loss
        centroids, labels, distances = moved, new_labels, new_distances
        if gain < tolerance * loss:
            break
    return Clusters(centroids, labels, loss)


@torch.no_grad()
def nearest_centroids(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest centroid of each point, int64, and the squared distance from it, float32.

    Args:
        points: Shape (points, dimension).
        centroids: Shape (count, dimension).
    """
    points, centroids = points.float(), centroids.float()
    norms = centroids.square().sum(1)
    step = max(DISTANCES_AT_ONCE.get(points.device.type, 2**22) // len(centroids), 1)
    # The distance is |p|^2 + |c|^2 - 2 p.c, and |p|^2 does not change the order.
    labels = torch.cat([torch.addmm(norms, part, centroids.T, alpha=-2).argmin(1) for part in points.split(step)])
    return labels, (points - centroids[labels]).square().sum(1)


def _seeds(points: Tensor, weights: Tensor, count: int, generator: Generator) -> Tensor:
    step = -(-count // ROUNDS)
    chosen = _draw(weights, 1, generator)
    distances = (points - points[chosen]).square().sum(1)
    while len(chosen) < count:
        new = _draw(weights * distances, min(step, count - len(chosen)), generator)
        chosen = torch.cat([chosen, new])
        distances = torch.minimum(distances, nearest_centroids(points, points[new])[1])
        distances[new] = 0
    return points[chosen].clone()


def _draw(odds: Tensor, count: int, generator: Generator) -> Tensor:
    """Draw distinct indices with probabilities proportional to `odds`, by exponential clocks."""
    clocks = torch.empty_like(odds).exponential_(generator=generator)
    return (odds / clocks.clamp_min(torch.finfo(odds.dtype).tiny)).topk(count).indices


def _means(points: Tensor, weights: Tensor, labels: Tensor, distances: Tensor, centroids: Tensor) -> Tensor:
    members = Segments(labels, len(centroids))
    sums = members.sum(torch.cat([points * weights[:, None], weights[:, None]], 1))
    mass = sums[:, -1:]
    means = torch.where(mass > 0, sums[:, :-1] / mass.clamp_min(1e-30), centroids)
    empty = (members.sizes == 0).nonzero()[:, 0]
    if len(empty):
        means[empty] = points[(weights * distances).topk(len(empty)).indices]
    return means
