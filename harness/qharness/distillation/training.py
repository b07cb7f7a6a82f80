"""The training loop of distillation: Adam, early stopping on held-out batches, the best state kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qharness.distillation.slots import Slot
from qharness.errors import UsageError


@dataclass(frozen=True)
class Schedule:
    """How long and on what a training runs.

    Attributes:
        epochs: Passes over the training batches.
        batch: Samples per batch.
        accumulate: Batches per step of the optimizer.
        patience: Epochs without improvement of the held-out loss after which it stops.
        held_out: Fraction of the batches that measure and do not train; at least one batch.
    """

    epochs: int = 5
    batch: int = 4
    accumulate: int = 2
    patience: int = 3
    held_out: float = 0.25


class Trained(NamedTuple):
    """Held-out losses before and after, and the epoch that was kept; 0 if none was better than the start."""

    before: float
    after: float
    epoch: int


def train(
    slots: Sequence[Slot],
    batches: int,
    loss: Callable[[int], Tensor],
    schedule: Schedule,
    *,
    seed: int,
    device: str,
    finished: Callable[[int], None] = lambda epoch: None,
) -> Trained:
    """Train tensors to lower a loss and leave the best state, as measured on held-out batches, in their slots.

    If no epoch is better than the start, every slot gets the very tensor back that it had.

    Args:
        slots: What is trained, in float32 on the device.
        batches: Number of batches.
        loss: Returns the loss of a batch by its number, a scalar.
        schedule: Epochs, accumulation, early stopping.
        seed: Seed of the order of the batches.
        device: Device of the training.
        finished: Called with the number of each finished epoch.

    Raises:
        UsageError: There are fewer than two batches.
    """
    if batches < 2:
        raise UsageError(f"Training needs two batches, one of them held out; {batches} is too few: give more samples.")
    held_out = range(batches - max(round(batches * schedule.held_out), 1), batches)
    originals = {slot.name: slot.read().detach() for slot in slots}
    leaves = {name: nn.Parameter(found.to(device, torch.float32, copy=True)) for name, found in originals.items()}
    for slot in slots:
        slot.write(leaves[slot.name])
    optimizer = torch.optim.Adam([{"params": [leaves[slot.name]], "lr": slot.rate} for slot in slots])
    generator = torch.Generator().manual_seed(seed)

    def measure() -> float:
        with torch.no_grad():
            return sum(float(loss(batch)) for batch in held_out) / len(held_out)

    kept, best_epoch = originals, 0
    try:
        before = best = measure()
        for epoch in range(1, schedule.epochs + 1):
            order = torch.randperm(held_out.start, generator=generator).tolist()
            for start in range(0, len(order), schedule.accumulate):
                span = order[start : start + schedule.accumulate]
                optimizer.zero_grad(set_to_none=True)
                for batch in span:
                    (loss(batch) / len(span)).backward()
                optimizer.step()
            now = measure()
            if now < best:
                best, best_epoch = now, epoch
                kept = {name: leaf.detach().clone() for name, leaf in leaves.items()}
            finished(epoch)
            if epoch - best_epoch >= schedule.patience:
                break
    except BaseException:
        kept = originals
        raise
    finally:
        for slot in slots:
            original, found = originals[slot.name], kept[slot.name]
            if found is not original:
                found = found.to(original.device, slot.dtype or original.dtype)
            slot.write(found)
    return Trained(before, best, best_epoch)
