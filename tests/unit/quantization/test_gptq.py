"""The GPTQ step: distortion on Gaussian weights, what each part of it gains, and the same algebra with g_idx."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from qharness.quantization.gptq import GptqStep
from qharness.rounding.feedback import proxy_loss
from qharness.rounding.grid import GridSpec
from qharness.testing.problems import make_problem


def _quantize(step, linear, hessian):
    from qharness.quantization.base import LinearContext

    return step.quantize(linear, LinearContext("layer", hessian, None, torch.Generator(), "cpu"))


@pytest.fixture(scope="module")
def gaussian():
    linear = torch.nn.Linear(1024, 256, bias=False)
    linear.weight.data = torch.randn(256, 1024, generator=torch.Generator().manual_seed(0))
    return linear


@pytest.mark.parametrize(
    ("group", "steps", "gate"), [(128, 80, 0.137), (64, 80, 0.127), (128, 0, 0.255)], ids=["g128", "g64", "min-max"]
)
def test_two_bit_distortion_of_gaussian_weights(gaussian, group, steps, gate):
    """Gates: 0.136 and 0.126 with the clipping search, 0.252 without; GPTQ with H = I is rounding to nearest."""
    step = GptqStep(GridSpec(2, "asymmetric", steps=steps), group, refit=False)
    errors = [
        float((_quantize(step, gaussian, hessian).dequantize() - gaussian.weight.detach()).square().mean())
        for hessian in (None, torch.eye(1024))
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)
    assert 0.97 * gate < errors[0] <= gate


def _outliers():
    problem = make_problem(64, 256, bias=False)
    scale = torch.ones(256)
    scale[torch.randperm(256, generator=torch.Generator().manual_seed(1))[:16]] = 12.0
    return problem.linear, problem.hessian * scale * scale[:, None]


def test_every_part_of_the_step_lowers_the_output_error():
    linear, hessian = _outliers()
    clipped = GptqStep(GridSpec(2, "asymmetric"), 64, "off", refit=False)
    steps = {
        "nearest": replace(clipped, grid=GridSpec(2, "asymmetric", steps=0)),
        "nearest, clipped": clipped,
        "feedback": clipped,
        "ordered": replace(clipped, act_order="groups"),
        "refitted": replace(clipped, act_order="groups", refit=True),
    }
    losses = {
        name: proxy_loss(
            linear.weight.detach(),
            _quantize(step, linear, None if "nearest" in name else hessian).dequantize(),
            hessian,
        )
        for name, step in steps.items()
    }
    assert list(losses.values()) == sorted(losses.values(), reverse=True), losses
    assert losses["refitted"] < 0.4 * losses["nearest"]


def test_sorted_columns_store_their_groups_and_equal_the_sorted_problem():
    linear, hessian = _outliers()
    step = GptqStep(GridSpec(2, "asymmetric"), 64, "columns")
    layer = _quantize(step, linear, hessian)
    columns = hessian.diagonal().argsort(descending=True, stable=True)
    turned = torch.nn.Linear(256, 64, bias=False)
    turned.weight.data = linear.weight.detach()[:, columns]
    by_hand = _quantize(replace(step, act_order="off"), turned, hessian[columns][:, columns])
    assert torch.equal(layer.dequantize()[:, columns], by_hand.dequantize())
    assert torch.equal(layer.g_idx[columns].long(), torch.arange(256) // 64)
    extra = sum(layer.stored_bits().values()) - sum(by_hand.stored_bits().values())
    assert extra == 16 * 256
