"""Where a trainable tensor lives: in a parameter, in a buffer of a quantized layer, or among the transform tensors."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qharness.quantization.linear import QuantizedLinear


@dataclass(frozen=True)
class Slot:
    """A tensor that training replaces.

    Attributes:
        name: Its name, unique among the slots of one training.
        read: Returns the tensor.
        write: Puts another tensor in its place; while it trains, a float32 leaf that requires a gradient.
        rate: Learning rate.
        dtype: Type in which the trained tensor is kept; None is the type that it had.
    """

    name: str
    read: Callable[[], Tensor]
    write: Callable[[Tensor], None]
    rate: float
    dtype: torch.dtype | None = None


def parameter_slot(
    module: nn.Module, name: str, rate: float, label: str = "", dtype: torch.dtype | None = None
) -> Slot:
    """Return the slot of a parameter of a module, for example the weight of a norm or of a linear."""

    def write(tensor: Tensor) -> None:
        # Not setattr: the leaf itself has to be the parameter, so that its gradient arrives where the optimizer looks.
        module._parameters[name] = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, False)

    return Slot(label or name, lambda: module.get_parameter(name), write, rate, dtype)


def buffer_slot(
    layer: QuantizedLinear,
    name: str,
    rate: float,
    label: str = "",
    dtype: torch.dtype | None = None,
    sharing: Sequence[QuantizedLinear] = (),
) -> Slot:
    """Return the slot of a buffer of a quantized layer whose `dequantize` is differentiable in it.

    Args:
        layer: The layer that stores it.
        name: Its name there.
        rate: Learning rate.
        label: Name of the slot.
        dtype: Type in which it is kept.
        sharing: Other layers that use the buffer (`QuantizedLinear.shared`).
    """

    def write(tensor: Tensor) -> None:
        for user in (layer, *sharing):
            user._buffers[name] = tensor
            user.cache_weight(not tensor.requires_grad)

    return Slot(label or name, lambda: layer.get_buffer(name), write, rate, dtype)


def tensor_slot(tensors: MutableMapping[str, Tensor], name: str, rate: float, dtype: torch.dtype | None = None) -> Slot:
    """Return the slot of a tensor of the runtime transforms."""

    def write(tensor: Tensor) -> None:
        tensors[name] = tensor

    return Slot(name, lambda: tensors[name], write, rate, dtype)
