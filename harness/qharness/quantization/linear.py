"""The contract of a quantized linear layer."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, nn

from qharness.errors import CorruptArtifact
from qharness.serving.base import REFERENCE, Packed, Use
from qharness_kernels.product import Product
from qharness_kernels.registry import KernelUnavailable, choose, obstacle

KERNEL_TYPES = (torch.float16, torch.bfloat16)
"""Types of the activations that kernels of quantized weights take."""


def check_shapes(tensors: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], layer: str) -> None:
    """Check the tensors of a layer that is read back.

    Args:
        tensors: By name.
        wanted: Shape of each that must be there.
        layer: What the layer is called in the message, for example `a grid layer`.

    Raises:
        CorruptArtifact: One is missing or has another shape.
    """
    for name, shape in wanted.items():
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != shape:
            raise CorruptArtifact(f"Tensor '{name}' of {layer} should have shape {shape}, found {found}.")


class QuantizedLinear(nn.Module, abc.ABC):
    """A linear layer y = x W^T + b whose weight is stored in a method's own tensors.

    Subclasses register their tensors as buffers, so that `tensors()` is their state.

    Attributes:
        in_features: Size of the input, n.
        out_features: Size of the output, m.
        shared: Buffers that another module stores, under the same name, by buffer name: a codebook of several linears
            is stored once. `spec()` must repeat it as `shared`; modules of one block only.
    """

    in_features: int
    out_features: int
    bias: Tensor | None
    shared: Mapping[str, str] = MappingProxyType({})
    _product: Callable[[Tensor], Tensor] | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that an artifact stores, by name, without the module's own prefix."""
        return {name: buffer for name, buffer in self.named_buffers() if name not in self.shared}

    @classmethod
    @abc.abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> Self:
        """Rebuild the layer from `tensors()`, the tensors it shares, and `spec()` as read back from JSON."""

    @abc.abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return the JSON-able numbers that `from_tensors` needs besides the tensors (sizes, bits, group)."""

    @abc.abstractmethod
    def dequantize(self) -> Tensor:
        """Return the weight, shape (out_features, in_features), float32."""

    @abc.abstractmethod
    def stored_bits(self) -> dict[str, int]:
        """Return the stored bits by purpose (`payload`, `scales`, `codebooks`, ...); everything but the bias."""

    def packed(self) -> Packed | None:
        """Return the weight as an operation of `qharness_kernels` takes it; None where there is none."""
        return None

    def use_kernels(self, switch: str, device: torch.device, dtype: torch.dtype) -> Use:
        """Choose what multiplies by the weight, repack the tensors for it, and use it from now on.

        Args:
            switch: `auto`, `reference` or `triton`.
            device: Where the layer is.
            dtype: Type of the inputs.

        Raises:
            KernelUnavailable: `triton` was asked for and no kernel can serve.
        """
        self._product = None
        packed = self.packed()
        if packed is None:
            if switch == "triton":
                raise KernelUnavailable(f"{type(self).__name__} has no kernel; use --kernels auto or reference.")
            return Use("", REFERENCE, "" if switch == "reference" or obstacle(device) else "this layer has no kernel")
        refusal = packed.refusal
        if dtype not in KERNEL_TYPES:
            refusal = refusal or f"kernels take float16 and bfloat16, not {str(dtype).removeprefix('torch.')}"
        implementation, reason = choose(packed.op, device, switch, refusal)
        if implementation.name != REFERENCE:
            self._product = Product(implementation, packed.arguments)
        return Use(packed.op, implementation.name, reason)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to x of shape (..., in_features): by its kernel, or by default through `dequantize`."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if self._product is None:
            # Autocast rounds the weight to its own type: that is what is worth keeping, half as large.
            kind = x.device.type
            dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
            return nn.functional.linear(x, self.weight_as(dtype), bias)
        y = self._product(x.reshape(-1, self.in_features)).view(*x.shape[:-1], self.out_features)
        return y if bias is None else y + bias

    def weight_as(self, dtype: torch.dtype) -> Tensor:
        """Return the dequantized weight in `dtype`, kept between calls once `cache_weight(True)` was called."""
        kept: Tensor | None = getattr(self, "_kept", None)
        if kept is not None and kept.dtype == dtype and kept.device == next(self.buffers()).device:
            return kept
        weight = self.dequantize().to(dtype)
        if getattr(self, "_keep", False):
            object.__setattr__(self, "_kept", weight)
        return weight

    def cache_weight(self, keep: bool) -> None:
        """Keep the dequantized weight between calls (memory for speed; the reference path on a CPU)."""
        object.__setattr__(self, "_keep", keep)
        object.__setattr__(self, "_kept", None)
