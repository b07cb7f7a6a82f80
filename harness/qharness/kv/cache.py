"""A view of a cache that rounds what is written to it."""

from __future__ import annotations

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from qharness.kv.rounding import StateRounding


def rounding_cache(cache: Cache | None, layers: int, rounding: StateRounding) -> Cache:
    """Return a cache that rounds new states before it stores and returns them.

    Args:
        cache: Where they are stored, or None to keep nothing: then the tokens of one pass read each other's rounded
            states and that is all.
        layers: Layers of the model.
        rounding: What becomes of the states.
    """
    inner: list[CacheLayerMixin | None] = list(cache.layers) if cache is not None else [None] * layers
    return Cache(layers=[RoundingLayer(layer, rounding) for layer in inner])


class RoundingLayer(CacheLayerMixin):
    """One layer of a `rounding_cache`."""

    is_sliding = False

    def __init__(self, inner: CacheLayerMixin | None, rounding: StateRounding) -> None:
        super().__init__()
        self.inner, self.rounding = inner, rounding
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Do nothing: the inner layer allocates what it needs."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Round the new states, store them, and return all."""
        keys, values = self.rounding.keys(key_states), self.rounding.values(value_states)
        if self.inner is None:
            return keys, values
        stored: tuple[Tensor, Tensor] = self.inner.update(keys, values, *args, **kwargs)
        return stored

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of keys after the update, and their offset."""
        if self.inner is None:
            return query_length, 0
        sizes: tuple[int, int] = self.inner.get_mask_sizes(query_length)
        return sizes

    def get_seq_length(self) -> int:
        """Return the number of stored tokens."""
        return 0 if self.inner is None else int(self.inner.get_seq_length())

    def get_max_length(self) -> int:
        """Return the capacity, -1 without one."""
        return -1 if self.inner is None else int(self.inner.get_max_length())
