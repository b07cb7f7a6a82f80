"""Learn R1 and R2, with a checkpoint every few steps."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from qharness.results.files import write_atomically
from qharness_spinquant.cayley import cayley_step
from qharness_spinquant.network import RotatedNetwork
from qharness_spinquant.rotation import orthogonality_error, polar, random_hadamard

if TYPE_CHECKING:
    from qharness.quantization.base import ModelContext
    from qharness_spinquant.options import Options

FILE = "rotations.safetensors"
SAVE_EVERY = 5
HELD_OUT = 4

PASS_TOKENS = 8192
"""Tokens of one pass where blocks are recomputed to save memory."""


class Rotations(NamedTuple):
    """R1, shape (hidden, hidden), and all R2, shape (blocks, head_dim, head_dim), float64."""

    r1: Tensor
    r2: Tensor


@dataclass(frozen=True)
class Schedule:
    """How much is learned: steps, sequences a step, and tokens a sequence."""

    iterations: int
    batch: int
    length: int


def schedule(options: Options, context: ModelContext) -> Schedule:
    """Return the options' schedule, with what they leave open chosen by the device."""
    on_gpu = torch.device(context.device).type == "cuda"
    iterations = options.iterations or (100 if on_gpu else 24)
    available, longest = context.calibration.shape
    length = options.sample_length or (longest if on_gpu else 128)
    batch = -(-options.samples // iterations) if options.samples else 8
    return Schedule(iterations, min(batch, available), min(length, longest))


def start(sizes: tuple[int, int, int], seed: int) -> tuple[Rotations, dict[str, bool]]:
    """Return random Hadamards to start from, and which of R1, R2 are Hadamards.

    Args:
        sizes: Hidden size, head size, number of blocks.
        seed: Seed of the signs.
    """
    hidden, head, blocks = sizes
    generator = torch.Generator().manual_seed(seed)
    r1, known1 = random_hadamard(hidden, generator)
    found = [random_hadamard(head, generator) for _ in range(blocks)]
    return Rotations(r1, torch.stack([matrix for matrix, _ in found])), {"R1": known1, "R2": found[0][1]}


def learn(
    network: RotatedNetwork, begin: Rotations, plan: Schedule, options: Options, context: ModelContext
) -> tuple[Rotations, dict[str, Any]]:
    """Descend the quantized model's loss by Cayley SGD; return orthogonal float64 rotations and notes.

    Calibration samples are taken in their order, a batch a step, as many sequences at a time as memory allows
    (gradient accumulation). The
    loss before and after is measured on the last samples, which no step sees if there are enough. The result is the
    end of the descent or, if that is no better there, the start.
    """
    tokens = context.calibration[:, : plan.length]
    held = min(HELD_OUT, max(len(tokens) - 1, 1))
    probe, pool = tokens[-held:], tokens[:-held] if len(tokens) > held else tokens
    micro = max(1, PASS_TOKENS // plan.length) if network.saves_memory else plan.batch
    state = _resume(Path(context.work), begin, network.device)

    def measure(rotations: Rotations) -> float:
        with torch.no_grad():
            return float(
                network.loss(probe, rotations.r1.float().to(network.device), rotations.r2.float().to(network.device))
            )

    before = measure(begin)
    r1, r2 = state.r1, state.r2
    for step in range(state.step, plan.iterations):
        batch = pool[[(step * plan.batch + i) % len(pool) for i in range(plan.batch)]]
        r1.requires_grad_(), r2.requires_grad_()
        total = 0.0
        for part in batch.split(micro):
            loss = network.loss(part, r1, r2) * len(part) / len(batch)
            loss.backward()
            total += float(loss.detach())
        rate = options.lr / 2 * (1 + math.cos(math.pi * step / plan.iterations))
        gradients = r1.grad, r2.grad
        assert gradients[0] is not None and gradients[1] is not None
        with torch.no_grad():
            r1, r2 = cayley_step(r1.detach(), gradients[0], rate), cayley_step(r2.detach(), gradients[1], rate)
        state.losses.append(total)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == plan.iterations:
            _save(Path(context.work), r1, r2, step + 1, state.losses)
        context.progress(step + 1, plan.iterations, f"learning rotations, loss {total:.3f}")
    drift = max(orthogonality_error(r1), orthogonality_error(r2))
    found = Rotations(polar(r1.cpu()), polar(r2.cpu()))
    after = measure(found)
    notes = {
        "loss_at_start": before,
        "loss_learned": after,
        "losses": [round(loss, 4) for loss in state.losses],
        "orthogonality_before_retraction": drift,
        "kept": "learned" if after < before else "start",
    }
    return (found if after < before else begin), notes


class _State(NamedTuple):
    r1: Tensor
    r2: Tensor
    step: int
    losses: list[float]


def _resume(folder: Path, begin: Rotations, device: str) -> _State:
    path = folder / FILE
    if not path.is_file():
        return _State(begin.r1.float().to(device), begin.r2.float().to(device), 0, [])
    with safe_open(path, framework="pt") as file:
        losses = json.loads(file.metadata()["losses"])
        return _State(file.get_tensor("R1").to(device), file.get_tensor("R2").to(device), len(losses), losses)


def _save(folder: Path, r1: Tensor, r2: Tensor, step: int, losses: list[float]) -> None:
    tensors = {"R1": r1.detach().cpu().contiguous(), "R2": r2.detach().cpu().contiguous()}
    write_atomically(folder / FILE, partial(save_file, tensors, metadata={"losses": json.dumps(losses)}))
