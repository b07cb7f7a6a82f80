"""What fine-tuning within a block trains: codebooks, column norms and the block's norms; indices stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qharness.distillation.slots import Slot, buffer_slot, parameter_slot
from qharness_vptq.linear import VptqLinear

if TYPE_CHECKING:
    from torch import nn

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
                slots.append(buffer_slot(linear, name, rate, f"{owner}.{name}", sharing=sharing))
    norms = (context.architecture.input_norm, context.architecture.post_norm)
    return slots + [parameter_slot(block.get_submodule(norm), "weight", rate, f"{norm}.weight") for norm in norms]
