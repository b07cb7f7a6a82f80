"""Sizes of a decoder."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """Sizes of a decoder with grouped attention and a gated network.

    Attributes:
        hidden: Size of the residual stream, a power of two of at least 256.
        intermediate: Size inside the gated network.
        layers: Number of layers.
        heads: Query heads.
        kv_heads: Key and value heads; divides `heads`, at most 16 query heads for each.
        head: Size of a head, a power of two.
        vocabulary: Number of tokens.
        context: Tokens in the cache when a token is decoded.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    context: int

    @property
    def query(self) -> int:
        """Size of all queries."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """Size of all keys."""
        return self.kv_heads * self.head

    def linears(self) -> dict[str, tuple[int, int]]:
        """Return (out_features, in_features) of a layer's products; those that share an input are one."""
        return {
            "qkv": (self.query + 2 * self.keys, self.hidden),
            "o": (self.hidden, self.query),
            "gate_up": (2 * self.intermediate, self.hidden),
            "down": (self.hidden, self.intermediate),
        }


BIELIK = Shape(4096, 14336, 50, 32, 8, 128, 32128, 1024)
"""Bielik-11B-v2.3-Instruct at 1,024 tokens."""
