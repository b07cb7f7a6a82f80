"""Scaled dot-product attention that neither copies keys in a decoding step nor masks what is causal anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "grouped_sdpa"


def grouped_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attend to the keys; one query token treats the heads of a group as query positions of their key head.

    A mask with fewer rows than there are query tokens belongs to the last of them; those before are causal, and their
    keys come first.

    Args:
        module: Attention module.
        query: Shape (rows, heads, length, head_dim).
        key: Shape (rows, key_heads, keys, head_dim).
        value: Shape of key.
        attention_mask: Additive, shape (rows, 1, length or fewer, keys), or None.
        kwargs: Passed to transformers' own function when there are several query tokens.

    Returns:
        Output of shape (rows, length, heads, head_dim), and None.
    """
    rows, heads, length, size = query.shape
    plain = 0 if attention_mask is None else length - attention_mask.shape[2]
    if plain > 0:
        first, _ = sdpa_attention_forward(
            module, query[:, :, :plain], key[:, :, :plain], value[:, :, :plain], None, **{**kwargs, "is_causal": True}
        )
        rest, _ = sdpa_attention_forward(module, query[:, :, plain:], key, value, attention_mask, **kwargs)
        return torch.cat([first, rest], dim=1), None
    if length > 1 or heads == key.shape[1]:
        output: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output
    grouped = query.reshape(rows, key.shape[1], -1, size)
    mask = None if attention_mask is None else attention_mask.expand(rows, 1, grouped.shape[2], key.shape[2])
    attended = torch.nn.functional.scaled_dot_product_attention(
        grouped, key, value, attn_mask=mask, scale=kwargs.get("scaling")
    )
    return attended.reshape(rows, 1, heads, size), None


def use_grouped_attention(model: PreTrainedModel) -> None:
    """Switch a model that uses transformers' `sdpa` to it; other implementations are left alone."""
    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)
