"""Grids: distortion on Gaussian weights, the clipping search, refitted scales."""

from __future__ import annotations

import pytest
import torch

from qharness.errors import UsageError
from qharness.rounding.feedback import proxy_loss, round_with_feedback
from qharness.rounding.grid import GridCode, GridSpec, fitting_group, round_to_nearest
from qharness.rounding.refit import refit_scales


def _mse(spec, group):
    weight = torch.randn(512, 1024, generator=torch.Generator().manual_seed(0))
    found = round_to_nearest(weight, spec, group)
    scale, zero = (part.repeat_interleave(group, 1) for part in found.scales)
    return float((weight - (found.codes - zero) * scale).square().mean())


@pytest.mark.parametrize(
    ("spec", "group", "expected"),
    [
        (GridSpec(2, steps=0), 128, 0.252),
        (GridSpec(2, steps=0), 64, 0.208),
        (GridSpec(2, steps=80), 128, 0.136),
        (GridSpec(2, steps=80), 64, 0.126),
        (GridSpec(2, "midrise"), 128, 0.116),
        (GridSpec(2, zeros="float16"), 128, 0.115),
    ],
)
def test_distortion_of_gaussian_weights(spec, group, expected):
    # Independent measurements of the asymmetric grid; a uniform 4-level quantizer cannot be below 0.1065 at group 64.
    assert _mse(spec, group) == pytest.approx(expected, rel=0.01)


def test_search_never_does_worse_than_the_whole_range():
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)) ** 3
    errors = []
    for steps in (0, 40):
        spec = GridSpec(2, steps=steps)
        scales = spec.fit(weight)
        errors.append((spec.decode(spec.encode(weight, scales), scales) - weight).square().sum(1))
    assert (errors[1] <= errors[0]).all() and errors[1].sum() < 0.9 * errors[0].sum()


def test_weighted_search_serves_the_important_columns():
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    importance = torch.ones(64)
    importance[0] = 1e4
    spec = GridSpec(2)
    plain, weighted = spec.fit(weight), spec.fit(weight, importance)
    error = [float((spec.decode(spec.encode(weight, s), s) - weight)[:, 0].abs().mean()) for s in (plain, weighted)]
    assert error[1] < error[0] / 2


@pytest.mark.parametrize("spec", [GridSpec(2), GridSpec(2, zeros="float16"), GridSpec(2, "midrise")])
def test_refit_lowers_the_proxy_loss(spec):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 128, generator=generator) @ torch.randn(128, 128, generator=generator)
    hessian, weight = x.T @ x / 512, torch.randn(32, 128, generator=generator)
    code = GridCode(spec, 32)
    rounded = round_with_feedback(weight, hessian, code)
    scales = refit_scales(weight, hessian, rounded.indices, code.table(), spec)
    decoded = (rounded.indices.float().view(32, 4, 32) - scales.zero[:, :, None]) * scales.scale[:, :, None]
    assert proxy_loss(weight, decoded.flatten(1), hessian) < proxy_loss(weight, rounded.weight, hessian)
    assert torch.equal(scales.scale.half().float(), scales.scale)
    if spec.zeros == "packed":
        assert torch.equal(scales.zero, code.table().zero)


def test_constant_and_zero_groups_stay_finite():
    weight = torch.cat([torch.zeros(2, 32), torch.full((2, 32), 3.0)])
    for grid in ("asymmetric", "symmetric", "midrise"):
        spec = GridSpec(2, grid)
        scales = spec.fit(weight)
        assert torch.isfinite(spec.decode(spec.encode(weight, scales), scales)).all()


def test_groups_fit_the_matrix():
    assert [fitting_group(n, 64) for n in (768, 48, 90)] == [64, 48, 45]
    assert fitting_group(96, 0) == 96
    with pytest.raises(UsageError):
        fitting_group(96, -1)
    with pytest.raises(UsageError, match="5"):
        GridSpec(5)


@pytest.mark.parametrize("grid", ["asymmetric", "midrise"])
def test_clipping_by_the_inputs_moment_minimises_the_error_of_each_groups_output(grid):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 64, generator=generator) @ torch.randn(64, 64, generator=generator)
    hessian, weight = x.T @ x / 256, torch.randn(16, 64, generator=generator)
    spec = GridSpec(2, grid, steps=12)
    found = round_to_nearest(weight, spec, 32, hessian)
    for start in (0, 32):
        part = slice(start, start + 32)
        low, high = weight[:, part].amin(1).clamp(max=0), weight[:, part].amax(1).clamp(min=0)
        losses = []
        for shrink in torch.linspace(1, 0.2, 12):
            scales = spec.between(low * shrink, high * shrink)
            error = spec.decode(spec.encode(weight[:, part], scales), scales) - weight[:, part]
            losses.append((x[:, part] @ error.T).square().mean(0))
        scale, zero = (table[:, start // 32, None] for table in found.scales)
        error = (found.codes[:, part] - zero) * scale - weight[:, part]
        assert torch.allclose((x[:, part] @ error.T).square().mean(0), torch.stack(losses).amin(0), rtol=1e-3)
