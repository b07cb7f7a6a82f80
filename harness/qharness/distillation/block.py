"""Fine-tuning within a block: its output is pulled back to that of the original block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from qharness.calibration.walk import BlockInputs, to_device
from qharness.distillation.slots import Slot
from qharness.distillation.training import Schedule, Trained, train


def tune_block(
    block: nn.Module,
    inputs: BlockInputs,
    targets: Sequence[Tensor],
    slots: Sequence[Slot],
    schedule: Schedule,
    *,
    seed: int,
    device: str,
    finished: Callable[[int], None] = lambda epoch: None,
) -> Trained:
    """Train tensors of a block to lower the squared error of its output.

    Args:
        block: A decoder block on the device, some of its linears quantized.
        inputs: Its inputs, one batch of the schedule each.
        targets: What the original block returned for its own inputs, one tensor per batch.
        slots: What is trained.
        schedule: Epochs, accumulation, early stopping.
        seed: Seed of the order of the batches.
        device: The device.
        finished: Called with the number of each finished epoch.

    Source: Tseng et al., QuIP#, arXiv 2402.04396, section 5.
    """

    def loss(batch: int) -> Tensor:
        output = block(inputs.hidden[batch].to(device), **to_device(inputs.keywords[batch], device))
        found = output[0] if isinstance(output, tuple) else output
        return nn.functional.mse_loss(found.float(), targets[batch].to(device).float())

    with gradients_off(block):
        return train(slots, len(targets), loss, schedule, seed=seed, device=device, finished=finished)


@contextmanager
def gradients_off(module: nn.Module) -> Iterator[None]:
    """Have no parameter of the module require a gradient inside the `with`, and those that did afterwards."""
    before = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in before:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in before:
            parameter.requires_grad_(True)


@contextmanager
def computing_in_float32(block: nn.Module) -> Iterator[None]:
    """Have a block compute in float32 inside the `with`, whatever type comes in; the same type goes out.

    Trained weights move by less than bfloat16 can show.
    """
    parameters = {name: parameter.dtype for name, parameter in block.named_parameters()}
    seen: list[torch.dtype] = []
    for parameter in block.parameters():
        parameter.data = parameter.data.float()

    def widen(_: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        seen.append(args[0].dtype)
        device = str(args[0].device)
        return to_device(args, device, torch.float32), to_device(keywords, device, torch.float32)

    def narrow(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        return to_device(output, str(next(block.parameters()).device), seen.pop())

    handles = [block.register_forward_pre_hook(widen, with_kwargs=True), block.register_forward_hook(narrow)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for name, parameter in block.named_parameters():
            parameter.data = parameter.data.to(parameters[name])
