"""Hessians block by block, for methods that prepare a model by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qharness.calibration.moments import SecondMoment
from qharness.calibration.walk import first_inputs, forward_block, on_device

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from qharness.calibration.store import HessianStore
    from qharness.models.architecture import Architecture


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
    first = [stage[0] for stage in architecture.stages()]
    inputs = None if stored is not None else first_inputs(model, architecture, tokens)
    for index, block in enumerate(architecture.module(model, architecture.blocks).children()):
        with on_device(block, device):
            if stored is not None:
                yield block, {name: stored.get(f"{architecture.blocks}.{index}.{name}").to(device) for name in first}
            elif inputs is not None:
                moments = {name: SecondMoment() for name in first}
                watch = {name: moment.add for name, moment in moments.items()}
                inputs = forward_block(block, inputs, device, watch)
                yield block, {name: moment.mean() for name, moment in moments.items()}
