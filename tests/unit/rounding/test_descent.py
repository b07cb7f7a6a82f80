"""Coordinate descent, the scale search and the row refit: each lowers the loss that it is about."""

from __future__ import annotations

import pytest
import torch

from qharness.errors import UsageError
from qharness.rounding.code import Tile
from qharness.rounding.descent import coordinate_descent
from qharness.rounding.feedback import Rounded, proxy_loss, round_with_feedback
from qharness.rounding.grid import GridCode, GridSpec, Scales
from qharness.rounding.refit import refit_rows
from qharness.rounding.scale import search_scales


def _problem(rows=32, columns=96, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.logspace(0, 1, columns)[:, None] * torch.randn(columns, columns, generator=generator)
    x = torch.randn(4 * columns, columns, generator=generator) @ mixing / columns**0.5
    return torch.randn(rows, columns, generator=generator), x.T @ x / len(x)


class Ternary:
    """-1, 0, 1 in tiles of two rows and four columns: a lattice in all but name."""

    tile, group, bits = Tile(2, 4), 0, 1.6

    def begin_group(self, index, weights, importance):
        pass

    def encode(self, weights):
        return weights.round().clamp(-1, 1).to(torch.int8).unflatten(0, (-1, 2)).flatten(1)

    def decode(self, indices):
        return indices.view(-1, 2, 4).flatten(0, 1).float()


@pytest.mark.parametrize("order", ["natural", "reverse"])
def test_descent_never_makes_a_row_of_tiles_worse_and_helps(order):
    weight, hessian = _problem()
    before = round_with_feedback(weight, hessian, Ternary(), order=order)
    after = coordinate_descent(weight, hessian, Ternary(), before, iterations=6, order=order)
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian))

    def losses(rounded):
        error = weight - rounded.weight
        return ((error @ damped) * error).sum(1).view(-1, 2).sum(1)

    assert (losses(after) <= losses(before) * (1 + 1e-5)).all()
    assert losses(after).sum() < 0.98 * losses(before).sum()
    again = torch.cat([Ternary().decode(after.indices[:, k]) for k in range(24)], 1)
    assert torch.equal(again, after.weight)


def test_descent_ends_at_a_local_optimum_of_a_scalar_grid():
    """With one column per tile, nearest rounding is the exact minimiser: no single change can lower the loss."""
    weight, hessian = _problem(rows=8, columns=24)
    scales = {0: Scales(torch.full((8,), 1.0), torch.full((8,), 1.5))}
    code = GridCode(GridSpec(2, "midrise"), 0, scales=scales)
    start = round_with_feedback(weight, hessian, code)
    found = coordinate_descent(weight, hessian, code, start, iterations=50)
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(24)
    error = weight - found.weight
    best = ((error @ damped) * error).sum(1)
    for column in range(24):
        for level in (-1.5, -0.5, 0.5, 1.5):
            trial = error.clone()
            trial[:, column] = weight[:, column] - level
            assert (((trial @ damped) * trial).sum(1) >= best - 1e-3).all()


def test_descent_refuses_scales_that_move():
    weight, hessian = _problem()
    code = GridCode(GridSpec(2), 32)
    with pytest.raises(UsageError, match="fixed"):
        coordinate_descent(weight, hessian, code, Rounded(weight, weight, 0.0), iterations=1)


def test_the_scale_found_is_the_best_of_a_dense_scan():
    weight, hessian = _problem(rows=64)
    [found] = search_scales([weight], hessian, Ternary(), starts=[1.0], rows=64)

    def loss(scale):
        return proxy_loss(weight, scale * round_with_feedback(weight / scale, hessian, Ternary()).weight, hessian)

    assert loss(found) <= 1.02 * min(loss(0.5 + 0.05 * step) for step in range(30))


def test_refitted_rows_are_optimal():
    weight, hessian = _problem()
    rounded = round_with_feedback(weight, hessian, Ternary()).weight
    factor = refit_rows(weight, hessian, rounded)
    best = proxy_loss(weight, factor[:, None] * rounded, hessian)
    assert best < proxy_loss(weight, rounded, hessian)
    for change in (0.99, 1.01):
        assert proxy_loss(weight, change * factor[:, None] * rounded, hessian) > best
    assert torch.equal(refit_rows(weight, None, torch.zeros_like(weight)), torch.ones(32))
