"""The best rate at which a model takes tokens, by a sweep of batch shapes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from qharness.bench.clock import Clock
from qharness.engines.forward import Forward

LENGTHS = (128, 256, 512, 1024)
CPU_TOKENS = (256, 1024, 2048)
GPU_TOKENS = (4096, 8192, 16384, 32768)
CPU_BUDGET = 0.5
GPU_BUDGET = 0.25
"""Seconds for each shape; a shape is run at least twice."""


@dataclass(frozen=True)
class Rate:
    """The fastest shape of plain forward passes without cache or head.

    Attributes:
        tokens_per_second: By wall-clock.
        tokens_per_cpu_second: By processor time, of the shape that is best by that.
        rows, length: The shape.
    """

    tokens_per_second: float
    tokens_per_cpu_second: float
    rows: int
    length: int


@torch.inference_mode()
def best_rate(forward: Forward, longest: int) -> Rate:
    """Measure plain causal forward passes in several shapes and return the best.

    Args:
        forward: Model.
        longest: Tokens of the longest prompt that will be asked; longer shapes are left out.
    """
    is_gpu = forward.device.type == "cuda"
    lengths = [length for length in LENGTHS if length <= max(longest, LENGTHS[0])]
    shapes = {(max(1, t // n), n) for n in lengths for t in (GPU_TOKENS if is_gpu else CPU_TOKENS)}
    found = [_rate(forward, rows, length, GPU_BUDGET if is_gpu else CPU_BUDGET) for rows, length in sorted(shapes)]
    best = max(found, key=lambda rate: rate.tokens_per_second)
    by_cpu = max(rate.tokens_per_cpu_second for rate in found)
    return Rate(best.tokens_per_second, by_cpu, best.rows, best.length)


def _rate(forward: Forward, rows: int, length: int, budget: float) -> Rate:
    vocabulary = int(forward.model.config.vocab_size)
    tokens = torch.randint(0, vocabulary, (rows, length), generator=torch.Generator().manual_seed(0))
    tokens = tokens.to(forward.device)
    forward.hidden(tokens)
    spent, passes, wall, cpu = 0.0, 0, float("inf"), float("inf")
    while passes < 2 or spent < budget:
        with Clock(forward.device) as clock:
            forward.hidden(tokens)
        spent += clock.seconds
        passes += 1
        wall, cpu = min(wall, clock.seconds), min(cpu, clock.cpu_seconds)
    return Rate(rows * length / wall, rows * length / cpu, rows, length)
