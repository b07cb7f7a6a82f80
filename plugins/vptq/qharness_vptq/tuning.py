"""What fine-tuning within a block trains: codebooks, column norms and the block's norms; indices stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qharness.distillation.slots import Slot, parameter_slot
from qharness_vptq.linear import VptqLinear

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qharness.quantization.base import BlockContext

TRAINED = ("centroids", "res_centroids", "outlier_centroids", "weight_scale", "weight_bias")


def trainable(block: nn.Module, context: BlockContext, rate: float) -> list[Slot]:
    """Return the slots of a block whose linears are all quantized; a shared codebook is one of them.

    Args:
        block: The block.
        context: Its names.
        rate: Learning rate.

    Source: Liu et al., VPTQ, arXiv 2409.17066, section 4 (layer-wise fine-tuning of centroids and norms).
    """
    linears = {f"{context.prefix}.{name}": block.get_submodule(name) for name in context.quantized}
    slots = []
    for owner, linear in linears.items():
        assert isinstance(linear, VptqLinear)
        for name in TRAINED:
            if name in linear.tensors():
                users = [other for other in linears.values() if isinstance(other, VptqLinear)]
                sharing = [other for other in users if other.shared.get(name) == owner]
                slots.append(_slot([linear, *sharing], name, rate, f"{owner}.{name}"))
    norms = (context.architecture.input_norm, context.architecture.post_norm)
    return slots + [parameter_slot(block.get_submodule(norm), "weight", rate, f"{norm}.weight") for norm in norms]


def _slot(linears: Sequence[VptqLinear], name: str, rate: float, label: str) -> Slot:
    def write(tensor: Tensor) -> None:
        for linear in linears:
            linear._buffers[name] = tensor
            linear.cache_weight(not tensor.requires_grad)

    return Slot(label, lambda: linears[0].get_buffer(name), write, rate)
