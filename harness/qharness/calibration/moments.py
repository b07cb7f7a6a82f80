"""Second moments of the inputs of linears."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qharness.calibration.walk import BlockInputs, first_inputs, forward_block, observe, on_device

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedModel

    from qharness.calibration.store import HessianStore
    from qharness.models.architecture import Architecture


class SecondMoment:
    """Mean of x x^T over tokens, summed in float64 (the Hessian of the layer's squared output error, up to 2)."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.tokens = 0

    def add(self, x: Tensor) -> None:
        """Add inputs of shape (..., n); products are taken in float32, batches summed in float64."""
        flat = x.reshape(-1, x.shape[-1]).float()
        product = (flat.T @ flat).double()
        self.total = product if self.total is None else self.total.add_(product)
        self.tokens += len(flat)

    def mean(self) -> Tensor:
        """Return the mean, shape (n, n), float32, symmetric to the bit."""
        if self.total is None:
            raise ValueError("no inputs were seen")
        mean = self.total / self.tokens
        return ((mean + mean.T) / 2).float()


class RawInputs:
    """Inputs of a linear, kept on the CPU, at most `limit` tokens spread evenly over the calibration set."""

    def __init__(self, total: int, limit: int) -> None:
        self.stride = max(-(-total // limit), 1)
        self.kept: list[Tensor] = []
        self.seen = 0

    def add(self, x: Tensor) -> None:
        """Add inputs of shape (..., n)."""
        flat = x.reshape(-1, x.shape[-1])
        self.kept.append(flat[-self.seen % self.stride :: self.stride].cpu())
        self.seen += len(flat)

    def all(self) -> Tensor:
        """Return the kept inputs, shape (tokens, n)."""
        return torch.cat(self.kept)


def block_moments(
    block: nn.Module, inputs: BlockInputs, stages: Sequence[Sequence[str]], device: str
) -> dict[str, Tensor]:
    """Return the second moment of each stage's input, by the name of the stage's first linear.

    Args:
        block: A decoder block, on the device.
        inputs: Its inputs.
        stages: Linears grouped by shared input, in the order of the forward pass.
        device: The device.
    """
    moments = {stage[0]: SecondMoment() for stage in stages}
    watch = {name: moment.add for name, moment in moments.items()}
    observe(block, inputs, device, watch, last=stages[-1][0])
    return {name: moment.mean() for name, moment in moments.items()}


def hessians_by_block(
    model: PreTrainedModel, architecture: Architecture, tokens: Tensor, device: str, stored: HessianStore | None
) -> Iterator[tuple[nn.Module, dict[str, Tensor]]]:
    """Yield every block, on the device, with the second moments of its stages' inputs by their first linear.

    The caller may change the block while it has it, as long as its function stays the same.

    Args:
        model: The model.
        architecture: Where its parts are.
        tokens: Calibration tokens, shape (samples, length); not used with stored moments.
        device: Device of the work; one block is on it at a time.
        stored: Moments of this model, if they were computed before.
    """
    blocks = list(architecture.module(model, architecture.blocks).children())
    inputs = None if stored is not None else first_inputs(model, architecture, tokens)
    for index, block in enumerate(blocks):
        with on_device(block, device):
            if stored is not None:
                names = {stage[0]: f"{architecture.blocks}.{index}.{stage[0]}" for stage in architecture.stages()}
                yield block, {first: stored.get(name).to(device) for first, name in names.items()}
            elif inputs is not None:
                yield block, block_moments(block, inputs, architecture.stages(), device)
                if index + 1 < len(blocks):
                    inputs = forward_block(block, inputs, device)
