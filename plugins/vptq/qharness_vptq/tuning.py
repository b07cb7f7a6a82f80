"""What fine-tuning trains, within a block or end to end: codebooks, column norms and layer norms; indices stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qharness.distillation.slots import Slot, buffer_slot, parameter_slot
from qharness_vptq.linear import VptqLinear

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture
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
    slots = _codebooks({f"{context.prefix}.{name}": block.get_submodule(name) for name in context.quantized}, rate)
    norms = (context.architecture.input_norm, context.architecture.post_norm)
    return slots + [parameter_slot(block.get_submodule(norm), "weight", rate, f"{norm}.weight") for norm in norms]


def trainable_whole(model: PreTrainedModel, architecture: Architecture, rate: float) -> list[Slot]:
    """Return the slots of a whole quantized model: codebooks, column norms, layer norms, and an untied head.

    Args:
        model: The model.
        architecture: Where its parts are.
        rate: Learning rate.

    Source: Liu et al., VPTQ, arXiv 2409.17066, section 4 (end-to-end fine-tuning).
    """
    slots = _codebooks(dict(model.named_modules()), rate)
    blocks = architecture.module(model, architecture.blocks).named_children()
    norms = [f"{architecture.blocks}.{index}.{norm}" for index, _ in blocks for norm in
             (architecture.input_norm, architecture.post_norm)]  # fmt: skip
    slots += [
        parameter_slot(model.get_submodule(name), "weight", rate, f"{name}.weight")
        for name in [*norms, architecture.final_norm]
    ]
    if not model.config.tie_word_embeddings:
        slots.append(parameter_slot(architecture.module(model, architecture.head), "weight", rate, architecture.head))
    return slots


def _codebooks(modules: Mapping[str, nn.Module], rate: float) -> list[Slot]:
    linears = {name: module for name, module in modules.items() if isinstance(module, VptqLinear)}
    slots = []
    for owner, linear in linears.items():
        for name in TRAINED:
            if name in linear.tensors():
                sharing = [other for other in linears.values() if other.shared.get(name) == owner]
                slots.append(buffer_slot(linear, name, rate, f"{owner}.{name}", sharing=sharing))
    return slots
