"""Sequences that are fed token by token through the key-value cache, many rows at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qharness.engines.forward import Forward
from qharness.engines.heads import Prompt
from qharness.engines.prefill import Prefill
from qharness.engines.slots import Slots


class Decoder:
    """Rows in flight behind their prefilled prompts.

    Token n of a row lies in slot n; slots behind a row's last token hold remains and are masked.

    Args:
        forward: Model.
        prefill: Fills the slots.
        slots: Where keys and values lie.

    Attributes:
        slots: Keys and values.
        lengths: Tokens of each row, on the host.
        states: State of each row's last token, shape (rows, hidden_size).
    """

    def __init__(self, forward: Forward, prefill: Prefill, slots: Slots) -> None:
        self._forward = forward
        self._prefill = prefill
        self.slots = slots
        self.lengths = [0] * slots.rows
        width = int(forward.model.config.hidden_size)
        self.states = torch.zeros(slots.rows, width, dtype=forward.dtype, device=forward.device)

    def admit(self, rows: Sequence[int], prompts: Sequence[Prompt], lengths: Sequence[int]) -> None:
        """Put the first `lengths` tokens of prompts into rows; whatever was there is forgotten."""
        states = self._prefill.fill(self.slots, rows, prompts, lengths)
        self._forward.settle(self.slots, rows, max(lengths))
        self.states[torch.tensor(rows, device=states.device)] = states
        for row, length in zip(rows, lengths, strict=True):
            self.lengths[row] = length

    def step(self, tokens: Sequence[int] | Tensor) -> Tensor:
        """Feed one token to each of the first rows and return their new states, shape (rows, hidden_size)."""
        rows = len(tokens)
        lengths = self.lengths[:rows]
        used = max(lengths) + 1
        is_even = min(lengths) + 1 == used
        forward = self._forward
        next_places = forward.ids(lengths)
        fed = (tokens if isinstance(tokens, Tensor) else forward.ids(tokens)).view(-1, 1)
        mask = None
        if not is_even or (forward.window is not None and used > forward.window):
            mask = step_mask(forward, next_places, used)
        cache = self.slots.step_cache(forward.layers, used - 1 if is_even else next_places, rows, used)
        states = forward.hidden(fed, next_places[:, None], mask, cache, is_step=True)[:, -1]
        self.lengths[:rows] = [length + 1 for length in lengths]
        self.states[:rows] = states
        return states

    def move(self, source: int, target: int) -> None:
        """Copy a row to another place."""
        self.slots.move(source, target, self.lengths[source])
        self.lengths[target] = self.lengths[source]
        self.states[target] = self.states[source]

    def select(self, rows: Sequence[int]) -> None:
        """Go on with those rows only; a row may be given more than once."""
        if list(rows) == list(range(len(self.lengths))):
            return
        self.slots = self.slots.select(rows, max(self.lengths))
        self.lengths = [self.lengths[row] for row in rows]
        self.states = self.states[torch.tensor(rows, device=self.states.device)]


def step_mask(forward: Forward, places: Tensor, used: int) -> Tensor:
    """Return the additive mask of a step, shape (rows, 1, 1, used): each row sees its slots up to its new token's.

    Args:
        forward: Model.
        places: Slot of each row's new token, shape (rows,).
        used: Slots that are read.
    """
    slots = torch.arange(used, device=places.device)
    allowed = slots <= places[:, None]
    if forward.window is not None:
        allowed &= places[:, None] - slots < forward.window
    return forward.additive(allowed[:, None, None, :])
