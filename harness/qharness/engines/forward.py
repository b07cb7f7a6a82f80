"""One forward pass of a decoder: hidden states first, the head only where an answer needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qharness.engines.attention import NAME as GROUPED
from qharness.engines.planned import Forwarded
from qharness.engines.transfer import send, upload
from qharness.kv.cache import rounding_cache
from qharness.models.architecture import architecture_of

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel

    from qharness.engines.slots import Slots
    from qharness.kv.rounding import StateRounding

HEAD_ELEMENTS = 1 << 25
"""Logits computed at once, to bound the memory of large vocabularies."""


class Forward:
    """Runs the blocks and the head of a causal language model separately.

    Args:
        model: Model of a supported architecture, in eval mode.
        rounding: What the key-value cache does to the states; None for an exact cache.

    Attributes:
        forwarded: Tokens that went through the blocks so far, padding included.

    Raises:
        UnsupportedArchitecture: The model_type is not in the table of architectures.
    """

    def __init__(self, model: PreTrainedModel, rounding: StateRounding | None = None) -> None:
        architecture = architecture_of(model.config)
        self.model = model
        self.device = model.device
        self.dtype = model.dtype
        self.layers = int(model.config.num_hidden_layers)
        self.window: int | None = getattr(model.config, "sliding_window", None)
        self.rounding = rounding
        self.forwarded = Forwarded()
        self._head = architecture.module(model, architecture.head)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        is_step: bool = False,
    ) -> Tensor:
        """Return the states after the final norm.

        Args:
            tokens: Token ids, int64, shape (rows, length).
            positions: Positions of the tokens, same shape; counted from 0 when None.
            mask: Additive mask, shape (rows, 1, length, keys); causal when None. Where `splits_masks`, it may cover
                the last tokens only, and those before them are causal.
            cache: Keys and values so far; the new ones are added to it.
            is_step: Whether the tokens follow a prompt one by one, and not in prefill.

        Returns:
            Shape (rows, length, hidden_size), in the model's type.
        """
        if is_step:
            self.forwarded.decode += tokens.numel()
        else:
            self.forwarded.prefill += tokens.numel()
        if self.rounding is not None and (is_step or self.rounding.is_visible):
            cache = rounding_cache(cache, self.layers, self.rounding)
        output = self.model.base_model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = output.last_hidden_state
        return states

    @property
    def splits_masks(self) -> bool:
        """Whether the attention function takes masks of the last tokens only."""
        return str(self.model.config._attn_implementation) == GROUPED

    def settle(self, slots: Slots, rows: Sequence[int], length: int) -> None:
        """Round prefilled prompts in their slots, where the prompts' own tokens read exact states."""
        if self.rounding is None or self.rounding.is_visible:
            return
        for stored, states in ((slots.keys, self.rounding.keys), (slots.values, self.rounding.values)):
            for tensor in stored:
                index = torch.tensor(rows, device=tensor.device)
                tensor[index, :, :length] = states(tensor[index, :, :length])

    def logits(self, states: Tensor) -> Tensor:
        """Return float32 logits, shape (n, vocabulary), of states of shape (n, hidden_size)."""
        vocabulary = int(self.model.config.vocab_size)
        pieces = states.split(max(1, HEAD_ELEMENTS // vocabulary))
        return torch.cat([self._head(piece).float() for piece in pieces])

    def pad(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return the rows padded on the right with token 0, int64, shape (rows, longest)."""
        longest = max(len(row) for row in rows)
        return self.ids([[*row, *([0] * (longest - len(row)))] for row in rows])

    def ids(self, values: Sequence[Any]) -> Tensor:
        """Return numbers as an int64 tensor on the model's device."""
        return upload(values, self.device)

    def additive(self, allowed: Tensor) -> Tensor:
        """Return the additive mask of a boolean one (True: may be seen)."""
        allowed = send(allowed, self.device) if allowed.device != self.device else allowed
        mask = torch.zeros(allowed.shape, dtype=self.dtype, device=self.device)
        return mask.masked_fill_(~allowed, torch.finfo(self.dtype).min)
