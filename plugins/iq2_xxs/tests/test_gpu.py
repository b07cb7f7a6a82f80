"""The encoder on a GPU: the same bytes are read back, the result is as good as on the CPU."""

from __future__ import annotations

import pytest
import torch

from qharness.rounding.feedback import proxy_loss
from qharness.testing.problems import make_problem
from qharness_iq2_xxs.linear import STORED_TYPES, BlockLinear
from qharness_iq2_xxs.options import Options
from qharness_iq2_xxs.quantizer import encode

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("kind", sorted(STORED_TYPES))
def test_blocks_of_a_gpu_are_as_good_as_those_of_a_cpu(kind):
    problem = make_problem(512, 1024, bias=False)
    weight, hessian = problem.linear.weight.detach(), problem.hessian
    losses = {}
    for device in ("cpu", "cuda"):
        blocks = encode(weight.to(device), hessian.to(device), kind, Options())
        layer = BlockLinear(blocks, kind, None)
        on_cpu = BlockLinear(blocks.cpu(), kind, None)
        assert torch.equal(layer.dequantize().cpu(), on_cpu.dequantize())
        losses[device] = proxy_loss(weight, on_cpu.dequantize(), hessian)
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=0.01)
