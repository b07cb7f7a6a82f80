"""Sequences that are fed token by token through the key-value cache, many rows at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qharness.engines.forward import Forward
from qharness.engines.prefill import Prefill
from qharness.engines.slots import Slots


class Decoder:
    """Rows in flight behind their prefilled prefixes.

    Prefixes are padded on the right; the slots of the padding are masked in every later step, and each row counts its
    own positions.

    Args:
        forward: Model.
        prefill: Fills the slots.
        contexts: Tokens of each row.
        lengths: How many tokens of each context are prefilled, at least one.
        room: Most tokens that are fed after the prefix.

    Attributes:
        states: States of each row's last token, shape (rows, hidden_size); before the first step only those of
            contexts that are prefilled whole.
    """

    def __init__(
        self, forward: Forward, prefill: Prefill, contexts: Sequence[Sequence[int]], lengths: Sequence[int], room: int
    ) -> None:
        self._forward = forward
        self._filled = max(lengths)
        self._slots = Slots(len(contexts), self._filled + room)
        self.states = prefill.fill(self._slots, contexts, lengths)
        forward.settle(self._slots, self._filled)
        self._next = torch.tensor(lengths, device=forward.device)
        places = torch.arange(self._slots.capacity, device=forward.device)
        self._places = places.repeat(len(contexts), 1)
        self._places[places >= self._next[:, None]] = -1
        self._is_even = min(lengths) == self._filled

    def step(self, tokens: Sequence[int] | Tensor) -> Tensor:
        """Feed one token to every row and return the new states, shape (rows, hidden_size)."""
        forward = self._forward
        self._places[:, self._filled] = self._next
        fed = torch.as_tensor(tokens, device=forward.device).view(-1, 1)
        cache = self._slots.cache(forward.layers, self._filled)
        self._filled += 1
        states = forward.hidden(fed, self._next[:, None], self._mask(), cache, is_step=True)
        self._next = self._next + 1
        self.states = states[:, -1]
        return self.states

    def _mask(self) -> Tensor | None:
        window = self._forward.window or self._filled
        if self._is_even and self._filled <= window:
            return None
        places = self._places[:, : self._filled]
        allowed = (places >= 0) & (self._next[:, None] - places < window)
        return self._forward.additive(allowed[:, None, None, :])

    def select(self, rows: Sequence[int]) -> None:
        """Go on with those rows only; a row may be given more than once."""
        if list(rows) == list(range(len(self._next))):
            return
        index = torch.tensor(rows, device=self._forward.device)
        self._slots = self._slots.select(rows, self._filled)
        self._next = self._next[index]
        self._places = self._places[index]
        self.states = self.states[index]
