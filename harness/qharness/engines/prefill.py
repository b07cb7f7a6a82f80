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
from qharness.engines.slots import Slots


class Prefill(Protocol):
    """Fills slots with prompts."""

    def fill(self, slots: Slots, contexts: Sequence[Sequence[int]], lengths: Sequence[int]) -> Tensor:
        """Write the first `lengths` tokens of each context to its row.

        Returns:
            States of the last tokens of the contexts that are kept whole, shape (rows, hidden_size); those of the
            others mean nothing.
        """


@dataclass(frozen=True)
class BatchPrefill:
    """Prefills neighbouring rows together, padded on the right: for devices that need large batches.

    Attributes:
        forward: Model.
        budget: Most tokens of one pass.
    """

    forward: Forward
    budget: int

    def fill(self, slots: Slots, contexts: Sequence[Sequence[int]], lengths: Sequence[int]) -> Tensor:
        """Fill the slots; rows are best sorted from the longest down."""
        pieces = []
        first = 0
        for count in (len(batch) for batch in plan_batches(lengths, self.budget)):
            last = first + count
            rows = [context[:size] for context, size in zip(contexts[first:last], lengths[first:last], strict=True)]
            cache = slots.cache(self.forward.layers, 0, first, last)
            states = self.forward.hidden(self.forward.pad(rows), cache=cache)
            ends = torch.tensor([len(row) - 1 for row in rows], device=states.device)
            pieces.append(states[torch.arange(count, device=states.device), ends])
            first = last
        return torch.cat(pieces)


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
    """Prefills every prompt in a pass of its own and remembers the latest ones.

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
        self._kept: OrderedDict[tuple[int, ...], Prefilled] = OrderedDict()
        self._size = 0

    def of(self, context: Sequence[int]) -> Prefilled:
        """Return a prompt's keys, values and last state."""
        key = tuple(context)
        found = self._kept.get(key)
        if found is None:
            found = self._compute(key)
            self._kept[key] = found
            self._size += found.size
            while self._size > self._limit:
                self._size -= self._kept.popitem(last=False)[1].size
        else:
            self._kept.move_to_end(key)
        return found

    def fill(self, slots: Slots, contexts: Sequence[Sequence[int]], lengths: Sequence[int]) -> Tensor:
        """Fill the slots from what is remembered or computed."""
        states = []
        for row, (context, length) in enumerate(zip(contexts, lengths, strict=True)):
            prompt = self.of(context)
            slots.put(row, prompt.keys, prompt.values, length)
            states.append(prompt.state)
        return torch.stack(states)

    def _compute(self, context: tuple[int, ...]) -> Prefilled:
        slots = Slots(1, len(context))
        states = self._forward.hidden(self._forward.pad([context]), cache=slots.cache(self._forward.layers, 0))
        return Prefilled([k[0] for k in slots.keys], [v[0] for v in slots.values], states[0, -1].clone())
