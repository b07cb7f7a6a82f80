"""How prompts get into the key-value slots: in padded batches, or one by one and remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from qharness.engines.batching import plan_batches
from qharness.engines.forward import Forward
from qharness.engines.heads import Prompt
from qharness.engines.slots import Slots

CHUNK = 256
"""Tokens of one pass over a single prompt: the activations of more do not fit a CPU's caches."""


class Prefill(Protocol):
    """Fills slots with prompts."""

    def of(self, prompt: Prompt) -> Prefilled:
        """Return one prompt's keys, values and last state."""

    def fill(self, slots: Slots, rows: Sequence[int], prompts: Sequence[Prompt], lengths: Sequence[int]) -> Tensor:
        """Write the first `lengths` tokens of each prompt to its row.

        Returns:
            States of the last tokens of the prompts that are kept whole, shape (rows, hidden_size); those of the
            others mean nothing.
        """


@dataclass(frozen=True)
class Prefilled:
    """A prompt's keys and values by layer, each of shape (heads, length, head_dim), and its last state."""

    keys: list[Tensor]
    values: list[Tensor]
    state: Tensor

    @property
    def size(self) -> int:
        """Bytes of the keys and values."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.keys, *self.values))


class RememberingPrefill:
    """Prefills every prompt in a pass of its own behind its shared head, and remembers the latest ones.

    Multiple choice, the written answer and the decode path ask for the same prompts. A pass of one prompt gives the
    same bits whatever else is asked, so a remembered prompt and a computed one cannot be told apart; on a CPU it costs
    no more than a padded batch.

    Args:
        forward: Model.
        limit: Most bytes of keys and values that are remembered.
    """

    def __init__(self, forward: Forward, limit: int) -> None:
        self._forward = forward
        self._limit = limit
        self._kept: OrderedDict[Prompt, Prefilled] = OrderedDict()
        self._size = 0

    def of(self, prompt: Prompt) -> Prefilled:
        """Return a prompt's keys, values and last state."""
        found = self._kept.get(prompt)
        if found is None:
            found = self._compute(prompt)
            self._kept[prompt] = found
            self._size += found.size
            while self._size > self._limit:
                self._size -= self._kept.popitem(last=False)[1].size
        else:
            self._kept.move_to_end(prompt)
        return found

    def fill(self, slots: Slots, rows: Sequence[int], prompts: Sequence[Prompt], lengths: Sequence[int]) -> Tensor:
        """Fill the slots from what is remembered or computed."""
        states = []
        for row, prompt, length in zip(rows, prompts, lengths, strict=True):
            found = self.of(prompt)
            keys, values = ([tensor[None] for tensor in tensors] for tensors in (found.keys, found.values))
            slots.put(slice(row, row + 1), keys, values, length)
            states.append(found.state)
        return torch.stack(states)

    def _compute(self, prompt: Prompt) -> Prefilled:
        slots = Slots(1, len(prompt.tokens))
        head = self.of(prompt.head) if prompt.head else None
        skipped = prompt.cuts[-1] if head else 0
        if head:
            slots.put(slice(1), [key[None] for key in head.keys], [value[None] for value in head.values], skipped)
        for start in range(skipped, len(prompt.tokens), CHUNK):
            fed = self._forward.pad([prompt.tokens[start : start + CHUNK]])
            states = self._forward.hidden(fed, cache=slots.cache(self._forward.layers, start))
        return Prefilled([k[0] for k in slots.keys], [v[0] for v in slots.values], states[0, -1].clone())


class BatchPrefill:
    """Prefills prompts together, padded on the right: for devices that need large batches.

    Args:
        forward: Model.
        budget: Most tokens of one pass.
        remembered: Most bytes of shared heads that are kept.
    """

    def __init__(self, forward: Forward, budget: int, remembered: int) -> None:
        self._forward = forward
        self._budget = budget
        self._heads = RememberingPrefill(forward, remembered)

    def of(self, prompt: Prompt) -> Prefilled:
        """Return one prompt's keys, values and last state, for a shared head."""
        return self._heads.of(prompt)

    def fill(self, slots: Slots, rows: Sequence[int], prompts: Sequence[Prompt], lengths: Sequence[int]) -> Tensor:
        """Fill the slots, a pass for each batch of prompts with the same head."""
        asked = [prompt.within(length) for prompt, length in zip(prompts, lengths, strict=True)]
        heads = [prompt.head for prompt in asked]
        tails = [prompt.tokens[prompt.cuts[-1] if prompt.cuts else 0 :] for prompt in asked]
        order: list[int] = []
        pieces = []
        for batch in plan_batches([len(tail) for tail in tails], self._budget, heads):
            pieces.append(self._fill(slots, [rows[i] for i in batch], heads[batch[0]], [tails[i] for i in batch]))
            order += batch
        back = torch.tensor(sorted(range(len(order)), key=order.__getitem__), device=self._forward.device)
        return torch.cat(pieces)[back]

    def _fill(self, slots: Slots, rows: list[int], head: Prompt | None, tails: list[tuple[int, ...]]) -> Tensor:
        skipped = len(head.tokens) if head else 0
        length = skipped + max(len(tail) for tail in tails)
        fresh = Slots(len(tails), length)
        if head:
            found = self.of(head)
            fresh.put(slice(None), [key[None] for key in found.keys], [value[None] for value in found.values], skipped)
        states = self._forward.hidden(self._forward.pad(tails), cache=fresh.cache(self._forward.layers, skipped))
        slots.put(rows, fresh.keys, fresh.values, length)
        ends = self._forward.ids([len(tail) - 1 for tail in tails])
        return states[torch.arange(len(tails), device=states.device), ends]
