"""Learning on a GPU ends where it ends on the CPU."""

from __future__ import annotations

import pytest
import torch

from qharness.rounding.straight_through import quantize_weights
from qharness_butterfly.butterfly import start
from qharness_butterfly.learning import Task, learn
from qharness_butterfly.transform import Map

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("size", [256, 1536])
def test_learning_and_applying(size):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(256, size, generator=generator)
    inputs = torch.randn(512, size, generator=generator) * torch.linspace(0.1, 3, size)
    found = {}
    for device in ("cpu", "cuda"):
        task = Task(
            weight.to(device),
            (inputs.T @ inputs / 512).to(device),
            inputs,
            lambda rotated: quantize_weights(rotated, 2, 64, "midrise"),
        )
        sizes = {"rows": 128, "tokens": 64, "generator": torch.Generator().manual_seed(1)}
        found[device] = learn(task, start(size, "identity"), steps=10, rate=20.0, uniformity=0.01, **sizes)
    assert found["cuda"].after < found["cuda"].before
    assert found["cuda"].after == pytest.approx(found["cpu"].after, rel=0.05)
    apply = Map(found["cpu"].butterfly, size)
    torch.testing.assert_close(apply(inputs.cuda()).cpu(), apply(inputs), rtol=1e-4, atol=1e-4)
