"""Where the parts of a decoder are: one table entry per supported model_type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qharness.errors import UnsupportedArchitecture

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Architecture:
    """Module names of a pre-norm decoder with gated MLP (Llama and its kin).

    Attributes:
        model_type: `model_type` of the configuration.
        blocks: Name of the list of decoder blocks.
        embedding: Token embedding.
        final_norm: Norm before the head.
        head: Output head.
        input_norm: Norm before attention, relative to a block.
        post_norm: Norm before the MLP, relative to a block.
        q, k, v, o: Attention projections, relative to a block.
        gate, up, down: MLP projections, relative to a block.
    """

    model_type: str
    blocks: str = "model.layers"
    embedding: str = "model.embed_tokens"
    final_norm: str = "model.norm"
    head: str = "lm_head"
    input_norm: str = "input_layernorm"
    post_norm: str = "post_attention_layernorm"
    q: str = "self_attn.q_proj"
    k: str = "self_attn.k_proj"
    v: str = "self_attn.v_proj"
    o: str = "self_attn.o_proj"
    gate: str = "mlp.gate_proj"
    up: str = "mlp.up_proj"
    down: str = "mlp.down_proj"

    def stages(self) -> tuple[tuple[str, ...], ...]:
        """Return the linears of a block grouped by shared input, in the order of the forward pass."""
        return ((self.q, self.k, self.v), (self.o,), (self.gate, self.up), (self.down,))

    def linears(self, layers: int) -> list[str]:
        """Return the full names of all quantized linears, block by block."""
        return [f"{self.blocks}.{i}.{name}" for i in range(layers) for stage in self.stages() for name in stage]

    def module(self, model: PreTrainedModel, name: str) -> nn.Module:
        """Return the module of that full name."""
        return model.get_submodule(name)

    def weight(self, model: PreTrainedModel, name: str) -> nn.Parameter:
        """Return the weight of the module of that full name."""
        return model.get_submodule(name).get_parameter("weight")


ARCHITECTURES: dict[str, Architecture] = {model_type: Architecture(model_type) for model_type in ("llama", "mistral")}


def architecture_of(config: PretrainedConfig) -> Architecture:
    """Return the table entry of a configuration.

    Raises:
        UnsupportedArchitecture: The model_type is not in the table.
    """
    found = ARCHITECTURES.get(config.model_type)
    if found is None:
        raise UnsupportedArchitecture(
            f"Architecture '{config.model_type}' is not supported; supported: {', '.join(sorted(ARCHITECTURES))}."
        )
    return found


def head_dim_of(config: PretrainedConfig) -> int:
    """Return the size of an attention head, from the configuration's own field where it has one."""
    own = getattr(config, "head_dim", None)
    return int(own) if own else int(config.hidden_size // config.num_attention_heads)
