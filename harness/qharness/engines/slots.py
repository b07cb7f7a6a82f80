"""Keys and values of rows in flight, in preallocated slots: a step writes one slot of each row and copies nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin


class Slots:
    """Storage of keys and values of all layers, each of shape (rows, heads, capacity, head_dim).

    Token n of a row lies in slot n.

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

    def put(self, rows: Sequence[int] | slice, keys: Sequence[Tensor], values: Sequence[Tensor], length: int) -> None:
        """Copy the first `length` tokens of all layers, each of shape (rows or 1, heads, tokens, head_dim)."""
        index = rows if isinstance(rows, slice) else torch.tensor(rows, device=keys[0].device)
        for layer, (key, value) in enumerate(zip(keys, values, strict=True)):
            self.reserve(layer, key, value)
            self.keys[layer][index, :, :length] = key[:, :, :length]
            self.values[layer][index, :, :length] = value[:, :, :length]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` slots of one row to another."""
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :length] = tensor[source, :, :length]

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

    def cache(self, layers: int, length: int) -> Cache:
        """Return a cache that writes several tokens a row behind `length` filled slots of every row."""
        return Cache(layers=[SlotLayer(self, layer, length) for layer in range(layers)])

    def step_cache(self, layers: int, places: Tensor | int, rows: int, used: int) -> Cache:
        """Return a cache that writes one token a row.

        Args:
            layers: Layers of the model.
            places: Slot of each row's new token, int64, shape (rows,); a number where it is the same for all.
            rows: How many of the rows take part: the first ones.
            used: How many slots are read.
        """
        return Cache(layers=[StepLayer(self, layer, places, rows, used) for layer in range(layers)])


class SlotLayer(CacheLayerMixin):
    """One layer's view of the storage for tokens that follow each other."""

    is_sliding = False

    def __init__(self, slots: Slots, layer: int, length: int) -> None:
        super().__init__()
        self.slots, self.layer, self.length = slots, layer, length
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate the layer."""
        self.slots.reserve(self.layer, key_states, value_states)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write the new states and return all filled slots."""
        self.lazy_initialization(key_states, value_states)
        start, self.length = self.length, self.length + key_states.shape[-2]
        keys, values = self.slots.keys[self.layer], self.slots.values[self.layer]
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


class StepLayer(SlotLayer):
    """One layer's view of the first rows for one new token each, at a place of its own."""

    def __init__(self, slots: Slots, layer: int, places: Tensor | int, rows: int, used: int) -> None:
        super().__init__(slots, layer, used - 1)
        self.places, self.rows, self.used = places, rows, used

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write each row's new state to its place and return the used slots of the rows."""
        keys, values = self.slots.keys[self.layer][: self.rows], self.slots.values[self.layer][: self.rows]
        if isinstance(self.places, int):
            keys[:, :, self.places] = key_states[:, :, 0]
            values[:, :, self.places] = value_states[:, :, 0]
        else:
            every = torch.arange(self.rows, device=keys.device)
            keys[every, :, self.places] = key_states[:, :, 0]
            values[every, :, self.places] = value_states[:, :, 0]
        return keys[:, :, : self.used], values[:, :, : self.used]


class HeadLayer(CacheLayerMixin):
    """Keys and values of a head that every row shares; the rows' own states are passed on and not kept.

    Args:
        keys: Shape (heads, length, head_dim).
        values: Shape of keys.
    """

    is_sliding = False

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.head_keys, self.head_values = keys, values
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Do nothing: nothing is stored."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Return the head's states followed by the new ones."""
        rows = key_states.shape[0]
        return (
            torch.cat([self.head_keys.expand(rows, -1, -1, -1), key_states], dim=2),
            torch.cat([self.head_values.expand(rows, -1, -1, -1), value_states], dim=2),
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of keys after the update, and their offset."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Return the length of the head."""
        return self.head_keys.shape[1]

    def get_max_length(self) -> int:
        """Return -1: there is no limit."""
        return -1


def head_cache(keys: Sequence[Tensor], values: Sequence[Tensor]) -> Cache:
    """Return a cache of a shared head; keys and values by layer, each of shape (heads, length, head_dim)."""
    return Cache(layers=[HeadLayer(key, value) for key, value in zip(keys, values, strict=True)])
