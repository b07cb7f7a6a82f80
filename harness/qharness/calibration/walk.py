"""Walk the decoder block by block: inputs of a block are cached, one block is on the device at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture

TOKENS_PER_BATCH = 4096


class _Stop(Exception):
    """Ends a forward pass whose rest is not needed."""


@dataclass
class BlockInputs:
    """Inputs of one decoder block for all calibration samples.

    Attributes:
        hidden: Hidden states, one tensor of shape (batch, length, hidden) per batch, on the CPU.
        keywords: The other arguments of each batch (positions, mask), as the model passes them.
    """

    hidden: list[Tensor]
    keywords: list[dict[str, Any]]

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return sum(batch.shape[0] * batch.shape[1] for batch in self.hidden)


def to_device(value: Any, device: str, dtype: torch.dtype | None = None) -> Any:
    """Return the value with every tensor in it on the device, floating-point ones in `dtype` if it is given."""
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None)
    if isinstance(value, (tuple, list)):
        return type(value)(to_device(item, device, dtype) for item in value)
    if isinstance(value, dict):
        return {name: to_device(item, device, dtype) for name, item in value.items()}
    return value


@torch.no_grad()
def first_inputs(
    model: PreTrainedModel, architecture: Architecture, tokens: Tensor, tokens_per_batch: int = TOKENS_PER_BATCH
) -> BlockInputs:
    """Return the inputs of the first block.

    Args:
        model: The model; its embedding and rotary tables run where they are.
        architecture: Where its blocks are.
        tokens: Token ids, shape (samples, length), int64.
        tokens_per_batch: Samples are grouped into batches of about this many tokens.
    """
    found = BlockInputs([], [])

    def stop(_: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> NoReturn:
        found.hidden.append(args[0].cpu())
        found.keywords.append(to_device(keywords, "cpu"))
        raise _Stop

    blocks = architecture.module(model, architecture.blocks)
    handle = blocks.get_submodule("0").register_forward_pre_hook(stop, with_kwargs=True)
    device = architecture.module(model, architecture.embedding).weight.device
    try:
        for batch in tokens.split(max(tokens_per_batch // tokens.shape[1], 1)):
            try:
                model(input_ids=batch.to(device), use_cache=False)
            except _Stop:
                continue
    finally:
        handle.remove()
    return found


@contextmanager
def on_device(block: nn.Module, device: str) -> Iterator[nn.Module]:
    """Have the block on the device inside the `with`, and where it was afterwards."""
    home = next(block.parameters()).device
    block.to(device)
    try:
        yield block
    finally:
        block.to(home)


@torch.no_grad()
def forward_block(
    block: nn.Module,
    inputs: BlockInputs,
    device: str,
    watch: Mapping[str, Callable[[Tensor], None]] | None = None,
    *,
    last: str | None = None,
) -> BlockInputs:
    """Run a block, and hand the input of each watched linear, shape (batch, length, n), to its callback.

    Runtime transforms that are attached act first, so inputs are seen as they will be at inference.

    Args:
        block: A decoder block, on the device.
        inputs: Its inputs.
        device: The device.
        watch: Callbacks by module name relative to the block.
        last: The watched module after which the rest of the block is not needed.

    Returns:
        Inputs of the next block; none of them if `last` ends the pass early.
    """
    watched = watch or {}
    outputs: list[Tensor] = []

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def see(_: nn.Module, args: tuple[Any, ...]) -> None:
            watched[name](args[0])
            if name == last:
                raise _Stop

        return see

    handles = [block.get_submodule(name).register_forward_pre_hook(hook(name)) for name in watched]
    try:
        for hidden, keywords in zip(inputs.hidden, inputs.keywords, strict=True):
            try:
                output = block(hidden.to(device), **to_device(keywords, device))
            except _Stop:
                continue
            outputs.append((output[0] if isinstance(output, tuple) else output).cpu())
    finally:
        for handle in handles:
            handle.remove()
    return BlockInputs(outputs, inputs.keywords)
