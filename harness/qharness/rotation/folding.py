"""Fold the norms into the linears behind them, as pure functions of a block's tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture


def folded_block(block: nn.Module, architecture: Architecture, dtype: torch.dtype, device: str) -> dict[str, Tensor]:
    """Return a block's parameters with its two RMSNorm weights folded in: W <- W diag(gamma), gamma <- 1.

    Args:
        block: A decoder block; not changed.
        architecture: Where its parts are.
        dtype: Type of the result; the products are taken in float64.
        device: Device of the work and of the result.
    """
    found = {name: parameter.detach().to(device) for name, parameter in block.named_parameters()}
    behind = {
        architecture.input_norm: (architecture.q, architecture.k, architecture.v),
        architecture.post_norm: (architecture.gate, architecture.up),
    }
    for norm, linears in behind.items():
        gamma = found[f"{norm}.weight"].double()
        for linear in linears:
            found[f"{linear}.weight"] = found[f"{linear}.weight"].double() * gamma
        found[f"{norm}.weight"] = torch.ones_like(gamma)
    return {name: tensor.to(dtype) for name, tensor in found.items()}


def folded_head(model: PreTrainedModel, architecture: Architecture) -> Tensor:
    """Return the head's weight with the final norm folded in, shape (vocabulary, hidden), float64."""
    head = architecture.weight(model, architecture.head).detach().double()
    return head * architecture.weight(model, architecture.final_norm).detach().double()


def untie_head(model: PreTrainedModel, architecture: Architecture) -> bool:
    """Give the head a weight of its own; return whether it shared the embedding's.

    With the head tied, R1 would act twice on one matrix, and the final norm would be folded into the embedding.
    """
    head, embedding = (architecture.module(model, name) for name in (architecture.head, architecture.embedding))
    tied = head.weight is embedding.weight
    if tied:
        copy = architecture.weight(model, architecture.embedding).detach().clone()
        head.weight = nn.Parameter(copy, requires_grad=False)
    model.config.tie_word_embeddings = False
    return tied


def norm_weights(model: PreTrainedModel, names: Architecture) -> dict[str, Tensor]:
    """Return copies of the norms' weights inside the blocks, float64, by full name."""
    found = (
        f"{names.blocks}.{index}.{norm}"
        for index in range(model.config.num_hidden_layers)
        for norm in (names.input_norm, names.post_norm)
    )
    return {name: names.weight(model, name).detach().double().clone() for name in found}
