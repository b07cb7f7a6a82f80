"""Keys and values of rows in flight, in preallocated slots: a step writes one slot and copies nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin


class Slots:
    """Storage of keys and values of all layers, each of shape (rows, heads, capacity, head_dim).

    Args:
        rows: Sequences.
        capacity: Tokens per sequence.
    """

    def __init__(self, rows: int, capacity: int) -> None:
        self.rows = rows
        self.capacity = capacity
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def reserve(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Allocate a layer like the given states; unwritten slots are zero, as masked slots must stay finite."""
        if layer == len(self.keys):
            self.keys.append(keys.new_zeros(self.rows, keys.shape[1], self.capacity, keys.shape[3]))
            self.values.append(values.new_zeros(self.rows, values.shape[1], self.capacity, values.shape[3]))

    def put(self, row: int, keys: Sequence[Tensor], values: Sequence[Tensor], length: int) -> None:
        """Copy the first `length` tokens of all layers, each of shape (heads, tokens, head_dim), to a row."""
        for layer, (key, value) in enumerate(zip(keys, values, strict=True)):
            self.reserve(layer, key[None], value[None])
            self.keys[layer][row, :, :length] = key[:, :length]
            self.values[layer][row, :, :length] = value[:, :length]

    def select(self, rows: Sequence[int], length: int) -> Slots:
        """Return storage with those rows (repeated or left out as given), of which `length` slots are filled."""
        chosen = Slots(len(rows), self.capacity)
        for old, new in ((self.keys, chosen.keys), (self.values, chosen.values)):
            for tensor in old:
                index = torch.tensor(rows, device=tensor.device)
                copy = tensor.new_zeros(len(rows), *tensor.shape[1:])
                torch.index_select(tensor[:, :, :length], 0, index, out=copy[:, :, :length])
                new.append(copy)
        return chosen

    def cache(self, layers: int, length: int, first: int = 0, last: int | None = None) -> Cache:
        """Return a cache that writes behind `length` slots of rows first:last."""
        rows = slice(first, self.rows if last is None else last)
        return Cache(layers=[SlotLayer(self, layer, rows, length) for layer in range(layers)])


class SlotLayer(CacheLayerMixin):
    """One layer's view of some rows of the storage."""

    is_sliding = False

    def __init__(self, slots: Slots, layer: int, rows: slice, length: int) -> None:
        super().__init__()
        self.slots, self.layer, self.rows, self.length = slots, layer, rows, length
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate the layer."""
        self.slots.reserve(self.layer, key_states, value_states)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write the new states and return all of the rows' filled slots."""
        self.lazy_initialization(key_states, value_states)
        start, self.length = self.length, self.length + key_states.shape[-2]
        keys, values = self.slots.keys[self.layer][self.rows], self.slots.values[self.layer][self.rows]
        keys[:, :, start : self.length] = key_states
        values[:, :, start : self.length] = value_states
        return keys[:, :, : self.length], values[:, :, : self.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of keys after the update, and their offset."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of filled slots."""
        return self.length

    def get_max_length(self) -> int:
        """Return the capacity."""
        return self.slots.capacity
