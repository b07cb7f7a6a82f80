"""Which GGUF type each linear gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from qharness.errors import UnsupportedArchitecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from qharness.models.architecture import Architecture

Mix = Literal["default", "pure"]
KIND = "IQ2_XXS"
FALLBACK = "IQ4_NL"
SUPERBLOCK, BLOCK = 256, 32
EARLY_PART = 8
"""One eighth of the layers, the first ones, has down projections of more bits."""
MANY_HEADS = 4
"""Query heads per key head from which on the values, being few, get four bits."""


EMBEDDING, HEAD = "Q2_K", "Q5_K"
"""Types of the outer matrices in llama.cpp's mix; an embedding that is the head, too, gets the head's."""


@dataclass(frozen=True)
class TypeChoice:
    """The types of a model's linears.

    Attributes:
        exceptions: Type by name of the linears that are not IQ2_XXS.
    """

    exceptions: Mapping[str, str] = field(default_factory=dict)

    def kind(self, name: str, columns: int) -> str:
        """Return the type of a linear with that many inputs.

        Raises:
            UnsupportedArchitecture: The inputs are no multiple of 32.
        """
        if columns % BLOCK:
            raise UnsupportedArchitecture(
                f"'{name}' has {columns} inputs; {KIND} takes multiples of {SUPERBLOCK}, {FALLBACK} of {BLOCK}."
            )
        return FALLBACK if columns % SUPERBLOCK else self.exceptions.get(name, KIND)


def choose_types(mix: Mix, names: Architecture, config: PretrainedConfig) -> TypeChoice:
    """Return the types of a model's linears.

    The default follows llama.cpp's quantization of whole models to this type: values in Q4_K with at least four query
    heads a key head, else in Q2_K; down projections of the first eighth of the layers in Q2_K. A size that 256 does
    not divide gets IQ4_NL.

    Args:
        mix: `default`, or `pure`: IQ2_XXS wherever it fits.
        names: Where the linears are.
        config: The model's configuration.
    """
    if mix == "pure":
        return TypeChoice()
    layers = config.num_hidden_layers
    heads = config.num_attention_heads // config.num_key_value_heads
    values = "Q4_K" if heads >= MANY_HEADS else "Q2_K"
    exceptions = {f"{names.blocks}.{i}.{names.v}": values for i in range(layers)}
    return TypeChoice(exceptions | {f"{names.blocks}.{i}.{names.down}": "Q2_K" for i in range(layers // EARLY_PART)})
