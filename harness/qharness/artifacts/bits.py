"""Bits accounting: what a quantized model really stores, with everything counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from qharness.quantization.linear import QuantizedLinear


@dataclass(frozen=True)
class BitsAccount:
    """Stored bits of an artifact.

    Attributes:
        modules: Stored bits of each quantized linear by purpose (`payload`, `scales`, ...), bias excluded.
        transforms: Bits of the runtime transforms' tensors.
        others: Bits of every other tensor: embeddings, head, norms, biases.
        quantized_weights: Number of weights of the quantized linears.
        other_weights: Number of elements of every other tensor.
    """

    modules: Mapping[str, Mapping[str, int]]
    transforms: int
    others: int
    quantized_weights: int
    other_weights: int

    @property
    def quantized_bits(self) -> int:
        """Bits of the quantized linears and of the transforms that they need."""
        return self.transforms + sum(sum(parts.values()) for parts in self.modules.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of everything."""
        return (self.quantized_bits + self.others) // 8

    @property
    def stored_bpw(self) -> float:
        """Stored bits per weight over the quantized linears; 0 if there are none."""
        return self.quantized_bits / self.quantized_weights if self.quantized_weights else 0.0

    @property
    def model_bpw(self) -> float:
        """Stored bits per weight over the whole model, embeddings and an untied head included."""
        weights = self.quantized_weights + self.other_weights
        return (self.quantized_bits + self.others) / weights if weights else 0.0


def account(
    quantized: Mapping[str, QuantizedLinear], transforms: Mapping[str, Tensor], others: Mapping[str, Tensor]
) -> BitsAccount:
    """Count the stored bits of a quantized model.

    Args:
        quantized: Quantized linears by module name.
        transforms: Tensors of the runtime transforms.
        others: Every other stored tensor, by name; tied tensors once.
    """
    biases = [module.bias for module in quantized.values() if module.bias is not None]
    rest = [*others.values(), *biases]
    return BitsAccount(
        modules={name: dict(module.stored_bits()) for name, module in sorted(quantized.items())},
        transforms=sum(_bits(tensor) for tensor in transforms.values()),
        others=sum(_bits(tensor) for tensor in rest),
        quantized_weights=sum(module.in_features * module.out_features for module in quantized.values()),
        other_weights=sum(tensor.numel() for tensor in rest),
    )


def account_of(model: PreTrainedModel) -> BitsAccount:
    """Count the stored bits of a loaded model; tied tensors once, quantized linears as they are packed."""
    from qharness.artifacts.digest import own_tensors
    from qharness.quantization.linear import QuantizedLinear

    quantized = {name: module for name, module in model.named_modules() if isinstance(module, QuantizedLinear)}
    packed = {f"{name}.{key}" for name, module in quantized.items() for key in module.tensors()}
    others = {name: tensor for name, tensor in own_tensors(model).items() if name not in packed}
    return account(quantized, {}, others)


def _bits(tensor: Tensor) -> int:
    return 8 * tensor.element_size() * tensor.numel()
