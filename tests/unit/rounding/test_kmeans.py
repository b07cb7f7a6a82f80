"""k-means: clusters are found, weights count, codebooks are as good as theory says, and nothing is left to chance."""

from __future__ import annotations

import pytest
import torch

from qharness.rounding.kmeans import kmeans, nearest_centroids


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_well_separated_clusters_are_found():
    centres = torch.randn(40, 3, generator=_generator()) * 100
    points = (centres[:, None] + 0.01 * torch.randn(40, 25, 3, generator=_generator(1))).flatten(0, 1)
    found = kmeans(points, 40, generator=_generator(2))
    assert nearest_centroids(centres, found.centroids)[1].max() < 1e-3
    assert torch.equal(found.labels, nearest_centroids(points, found.centroids)[0])
    assert found.loss == pytest.approx(float((points - found.centroids[found.labels]).square().sum()), rel=1e-4)


def test_four_levels_of_a_gaussian_are_those_of_lloyd_and_max():
    points = torch.randn(200_000, 1, generator=_generator())
    found = kmeans(points, 4, generator=_generator(1), tolerance=1e-7)
    levels = found.centroids[:, 0].sort().values
    assert torch.allclose(levels, torch.tensor([-1.510, -0.4528, 0.4528, 1.510]), atol=0.02)
    assert found.loss / len(points) == pytest.approx(0.1175, abs=0.002)


def test_256_vectors_of_four_weights_beat_the_best_scalar_levels():
    points = torch.randn(40_000, 4, generator=_generator())
    found = kmeans(points, 256, generator=_generator(1))
    assert found.loss / points.numel() < 0.11


def test_weights_are_repetitions():
    points = torch.randn(300, 2, generator=_generator())
    repeats = torch.randint(1, 6, (300,), generator=_generator(1))
    found = kmeans(points, 12, generator=_generator(2), weights=repeats, tolerance=0, iterations=500)
    mean = torch.stack([points.repeat_interleave(repeats * (found.labels == i), 0).mean(0) for i in range(12)])
    assert torch.allclose(found.centroids, mean, atol=1e-5)
    assert kmeans(points, 1, generator=_generator(), weights=torch.eye(300)[7]).centroids[0].equal(points[7])


def test_no_centroid_is_wasted():
    points = torch.cat([torch.zeros(5000, 2), torch.randn(60, 2, generator=_generator()) * 5])
    found = kmeans(points, 40, generator=_generator(1))
    assert len(found.labels.unique()) == 40


def test_more_centroids_than_points_lose_nothing():
    points = torch.randn(5, 8, generator=_generator())
    found = kmeans(points, 8, generator=_generator())
    assert found.centroids.shape == (8, 8) and found.loss == 0
    assert torch.equal(found.centroids[found.labels], points)


def test_the_generator_decides_and_chunks_do_not(monkeypatch):
    points = torch.randn(3000, 8, generator=_generator())
    first = kmeans(points, 300, generator=_generator(1))
    torch.rand(3)
    again = kmeans(points, 300, generator=_generator(1))
    assert torch.equal(first.centroids, again.centroids) and torch.equal(first.labels, again.labels)
    assert not torch.equal(first.centroids, kmeans(points, 300, generator=_generator(2)).centroids)
    labels, distances = nearest_centroids(points, first.centroids)
    monkeypatch.setattr("qharness.rounding.kmeans.DISTANCES_AT_ONCE", {"cpu": 1000})
    chunked, near = nearest_centroids(points, first.centroids)
    assert (chunked == labels).float().mean() > 0.999 and torch.allclose(distances, near, atol=1e-5)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_result_twice():
    points = torch.randn(200_000, 8, device="cuda")
    runs = [kmeans(points, 4096, generator=torch.Generator("cuda").manual_seed(0)) for _ in range(2)]
    assert torch.equal(runs[0].centroids, runs[1].centroids) and runs[0].loss == runs[1].loss
