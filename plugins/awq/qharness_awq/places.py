"""Where a channel scale s can be folded exactly: what comes before is divided by it, what comes behind multiplied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qharness.models.architecture import head_dim_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from qharness.models.architecture import Architecture


@dataclass(frozen=True)
class Place:
    """One place, by names relative to a block.

    Attributes:
        source: Norm or linear whose output the scale divides.
        linears: Linears whose inputs it divides; their columns are multiplied.
        heads: Query heads that share one value head, where the source is v_proj; 1 elsewhere. They share its scales.
        head_dim: Size of a head, for those.
    """

    source: str
    linears: tuple[str, ...]
    heads: int = 1
    head_dim: int = 0

    def narrow(self, magnitudes: Tensor) -> Tensor:
        """Return one magnitude for every channel of the source: the mean over the heads that share it."""
        if self.heads == 1:
            return magnitudes
        return magnitudes.view(-1, self.heads, self.head_dim).mean(1).flatten()

    def widen(self, scales: Tensor) -> Tensor:
        """Return one scale for every input of the linears."""
        if self.heads == 1:
            return scales
        by_head = scales.view(-1, 1, self.head_dim)
        return by_head.expand(-1, self.heads, -1).flatten()


def places(names: Architecture, config: PretrainedConfig) -> tuple[Place, ...]:
    """Return the places of a block in the order of the forward pass.

    A value channel reaches o_proj once for every query head of its group, so its scale is shared by them; what lies
    between up_proj and down_proj is a product with the gate, which a scale of up_proj's output passes through.
    """
    heads = config.num_attention_heads // config.num_key_value_heads
    return (
        Place(names.input_norm, (names.q, names.k, names.v)),
        Place(names.v, (names.o,), heads, head_dim_of(config)),
        Place(names.post_norm, (names.gate, names.up)),
        Place(names.up, (names.down,)),
    )


@torch.no_grad()
def fold(block: nn.Module, place: Place, scales: Tensor) -> None:
    """Divide the source's output by the scales and multiply the columns of the linears behind, in float64.

    Args:
        block: Changed in place; its function stays the same.
        place: Where.
        scales: Shape (channels of the source,), positive.
    """
    source = block.get_submodule(place.source)
    for parameter in (source.get_parameter("weight"), getattr(source, "bias", None)):
        if parameter is not None:
            divisor = scales.double()[:, None] if parameter.dim() == 2 else scales.double()
            parameter.data = (parameter.data.double() / divisor).to(parameter.dtype)
    wide = place.widen(scales).double()
    for name in place.linears:
        weight = block.get_submodule(name).get_parameter("weight")
        weight.data = (weight.data.double() * wide).to(weight.dtype)
