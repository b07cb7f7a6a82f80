"""The rounding loop against a naive reference, its invariants, and error feedback itself."""

from __future__ import annotations

import pytest
import torch

from qharness.errors import UsageError
from qharness.rounding.code import Tile
from qharness.rounding.factor import IndefiniteHessian, inverse_factor
from qharness.rounding.feedback import proxy_loss, round_with_feedback
from qharness.rounding.grid import GridCode, GridSpec, round_to_nearest
from qharness.rounding.order import column_order


def _problem(rows=24, columns=96, seed=0, rank=None):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.logspace(0, 1.5, columns)[:, None] * torch.randn(columns, columns, generator=generator)
    x = torch.randn(rank or 4 * columns, columns, generator=generator) @ mixing / columns**0.5
    return torch.randn(rows, columns, generator=generator), x.T @ x / len(x)


def _fixed(weight, spec, group):
    scales = round_to_nearest(weight, spec, group).scales
    groups = weight.shape[1] // group
    return {g: type(scales)(scales.scale[:, g], scales.zero[:, g]) for g in range(groups)}


def _naive(weight, hessian, spec, scales, group, damping, columns):
    """One column after the other: the rest takes the error that minimises the layer's output error."""
    h = hessian.double().clone()
    h.diagonal().add_(damping * h.diagonal().mean())
    work, out, left = weight.double().clone(), torch.zeros_like(weight), list(columns)
    while left:
        j = left.pop(0)
        s = scales[j // group]
        column = work[:, j : j + 1].float()
        out[:, j] = spec.decode(spec.encode(column, s), s)[:, 0]
        if left:
            error = work[:, j] - out[:, j].double()
            # argmin over the rest of (e, d) H (e, d)^T is d = -e H_jr H_rr^-1
            work[:, left] += error[:, None] * (h[j, left] @ torch.linalg.inv(h[left][:, left]))
    return out


@pytest.mark.parametrize("order", ["natural", "reverse", "activation"])
@pytest.mark.parametrize("block", [8, 32, 128])
def test_equals_the_naive_reference_on_a_fixed_grid(order, block):
    weight, hessian = _problem()
    spec, group = GridSpec(3, steps=0), 16
    scales = _fixed(weight, spec, group)
    code = GridCode(spec, group, scales=scales)
    found = round_with_feedback(weight, hessian, code, order=order, damping=0.02, block=block)
    walk = column_order(hessian.diagonal(), order, group, 1).tolist()
    expected = _naive(weight, hessian, spec, scales, group, 0.02, walk)
    assert torch.allclose(found.weight, expected, atol=1e-5)


class Pairs:
    """A product grid handed over two columns at a time: a code with a wider tile."""

    tile, group, bits = Tile(1, 2), 16, 2.0

    def begin_group(self, index, weights, importance):
        self.scale = weights.std()

    def encode(self, weights):
        return (weights / self.scale).round().clamp(-2, 1).long()

    def decode(self, indices):
        return indices * self.scale


@pytest.mark.parametrize("order", ["natural", "reverse", "activation"])
def test_wide_tiles_feed_errors_between_tiles_only(order):
    weight, hessian = _problem()
    found = round_with_feedback(weight, hessian, Pairs(), order=order, block=16)
    assert found.indices.shape == (24, 48, 2)
    # What a tile was rounded from is recovered from block elimination, tile by tile, in float64.
    damped = hessian.double().clone()
    damped.diagonal().add_(0.01 * damped.diagonal().mean())
    walk = column_order(hessian.diagonal(), order, 16, 2)
    work, left = weight.double().clone(), walk.tolist()
    while left:
        own, left = left[:2], left[2:]
        error = work[:, own] - found.weight[:, own].double()
        assert float(error.abs().median()) < float(weight.std())
        if left:
            work[:, left] += error @ damped[own][:, left] @ torch.linalg.inv(damped[left][:, left])
    assert torch.allclose(error, work[:, own] - found.weight[:, own].double())
    assert proxy_loss(weight, found.weight, hessian) < proxy_loss(weight, _plain(weight), hessian)


def _plain(weight):
    return round_with_feedback(weight, None, Pairs()).weight


@pytest.mark.parametrize("grid", ["asymmetric", "symmetric", "midrise"])
def test_feedback_beats_rounding_to_nearest(grid):
    weight, hessian = _problem()
    spec = GridSpec(2, grid)
    fed = round_with_feedback(weight, hessian, GridCode(spec, 32)).weight
    plain = round_with_feedback(weight, None, GridCode(spec, 32)).weight
    assert proxy_loss(weight, fed, hessian) < 0.7 * proxy_loss(weight, plain, hessian)


def test_without_a_hessian_it_is_rounding_to_nearest():
    weight, _ = _problem()
    spec = GridSpec(2)
    code = GridCode(spec, 32)
    found = round_with_feedback(weight, None, code)
    assert torch.equal(found.indices, round_to_nearest(weight, spec, 32).codes)


def test_activation_order_helps_and_keeps_groups_in_place():
    weight, hessian = _problem(columns=128)
    size = torch.logspace(0, 1.5, 128)
    hessian = hessian * size * size[:, None]
    losses = {}
    for order in ("natural", "activation"):
        code = GridCode(GridSpec(2), 32)
        found = round_with_feedback(weight, hessian, code, order=order)
        table = code.table()
        groups = found.indices.view(24, 4, 32).float()
        decoded = (groups - table.zero[:, :, None]) * table.scale[:, :, None]
        assert torch.equal(decoded.flatten(1), found.weight)
        losses[order] = proxy_loss(weight, found.weight, hessian)
    assert losses["activation"] < losses["natural"]


def test_same_input_gives_the_same_bits_and_leaves_the_weight_alone():
    weight, hessian = _problem()
    before = weight.clone()
    first, second = (round_with_feedback(weight, hessian, GridCode(GridSpec(2), 32)) for _ in range(2))
    assert torch.equal(first.weight, second.weight) and torch.equal(first.indices, second.indices)
    assert torch.equal(weight, before)


def test_dead_columns_and_rank_deficient_hessians():
    weight, hessian = _problem(rank=20)
    hessian[5], hessian[:, 5] = 0, 0
    found = round_with_feedback(weight, hessian, GridCode(GridSpec(2), 32), damping=0.01)
    assert torch.isfinite(found.weight).all()
    assert proxy_loss(weight, found.weight, hessian) < proxy_loss(
        weight, round_with_feedback(weight, None, GridCode(GridSpec(2), 32)).weight, hessian
    )


def test_factor_is_that_of_the_inverse_and_survives_bad_conditioning():
    _, hessian = _problem(columns=64)
    factor = inverse_factor(hessian, 0.01)
    damped = hessian.double().clone()
    damped.diagonal().add_(0.01 * damped.diagonal().mean())
    upper = factor.upper.double()
    assert torch.equal(upper, upper.triu())
    assert torch.allclose(upper.T @ upper @ damped, torch.eye(64).double(), atol=1e-3)
    assert inverse_factor(torch.ones(64, 64), 0.0).damping > 0
    with pytest.raises(IndefiniteHessian, match="NaN"):
        inverse_factor(torch.full((4, 4), torch.nan), 0.01)
    with pytest.raises(IndefiniteHessian, match="damping"):
        inverse_factor(torch.eye(4) - 3 * torch.ones(4, 4) * (1 - torch.eye(4)) * 1e6, 1e-8)


def test_matrix_that_cannot_be_cut_is_refused():
    with pytest.raises(UsageError, match="groups of 40"):
        round_with_feedback(torch.zeros(4, 96), None, GridCode(GridSpec(2), 40))


class _Points:
    """A fixed set of vectors as a code, nearest in plain L2 or in the loop's metric."""

    tile, group, bits = Tile(1, 4), 0, 2.0

    def __init__(self, points):
        self.points = points

    def begin_group(self, index, weights, importance):
        pass

    def encode(self, weights):
        difference = weights[:, None] - self.points
        return ((difference @ self.metric()) * difference).sum(2).argmin(1)

    def decode(self, indices):
        return self.points[indices]

    def metric(self):
        return torch.eye(4)


class _MetricPoints(_Points):
    def __init__(self, points):
        super().__init__(points)
        self.metrics = []

    def begin_tile(self, metric):
        self.metrics.append(metric)

    def metric(self):
        return self.metrics[-1]


def test_a_code_may_choose_its_words_in_the_metric_of_the_error():
    weight, hessian = _problem(rows=64, columns=32)
    points = torch.randn(256, 4, generator=torch.Generator().manual_seed(1))
    aware = _MetricPoints(points)
    losses = [
        proxy_loss(weight, round_with_feedback(weight, hessian, code, damping=0.01).weight, hessian)
        for code in (_Points(points), aware)
    ]
    assert losses[1] < losses[0]
    damped = hessian.double()
    damped.diagonal().add_(0.01 * damped.diagonal().mean())
    for index, metric in enumerate(aware.metrics):
        # What is left of the block once the later columns make up for it: a Schur complement.
        own, later = slice(4 * index, 4 * index + 4), slice(4 * index + 4, None)
        mended = damped[own, later] @ torch.linalg.solve(damped[later, later], damped[later, own])
        assert torch.allclose(metric.double(), damped[own, own] - mended, rtol=1e-3, atol=1e-3 * float(metric.max()))
