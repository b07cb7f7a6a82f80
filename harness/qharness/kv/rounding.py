"""Rounding of keys and values to a few bits, as a quantized key-value cache does it.

Each head of each token is rounded by itself, in groups along the head, asymmetrically: the smallest value and the step
of a group are float16 numbers. What a token stores depends on no other token, so the order of writing is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from qharness.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

PrefillView = Literal["visible", "invisible"]
PREFILL_VIEWS: tuple[str, ...] = get_args(PrefillView)
WIDTHS = (2, 4, 8)
GROUP = 64
"""Most numbers of a head that share a step; `QuantizedLayer` of transformers takes as many."""


class StateRounding(Protocol):
    """What becomes of keys and values on their way into the cache."""

    @property
    def is_visible(self) -> bool:
        """Whether the tokens of a prompt read what the cache holds, or the exact states."""

    def keys(self, states: Tensor) -> Tensor:
        """Return what later tokens read of keys of shape (..., tokens, head_dim)."""

    def values(self, states: Tensor) -> Tensor:
        """Return what later tokens read of values of shape (..., tokens, head_dim)."""


@dataclass(frozen=True)
class KvRounding:
    """Asymmetric rounding of keys and values.

    Attributes:
        bits: Width of a code: 2, 4 or 8.
        prefill: `visible` if the tokens of a prompt read rounded states of each other; `invisible` if only later
            tokens do, as in engines whose prefill attends to the exact states and stores rounded ones.
        group: Most numbers of a head that share a step.
    """

    bits: int
    prefill: PrefillView = "invisible"
    group: int = GROUP

    def __post_init__(self) -> None:
        if self.bits not in WIDTHS or self.prefill not in PREFILL_VIEWS:
            raise UsageError(
                f"A key-value cache has 16, 8, 4 or 2 bits and is {' or '.join(PREFILL_VIEWS)} in prefill."
            )

    @property
    def is_visible(self) -> bool:
        """Whether the tokens of a prompt read rounded states."""
        return self.prefill == "visible"

    def keys(self, states: Tensor) -> Tensor:
        """Round keys."""
        return round_groups(states, self.bits, self.group)

    def values(self, states: Tensor) -> Tensor:
        """Round values."""
        return round_groups(states, self.bits, self.group)


def group_of(size: int, limit: int = GROUP) -> int:
    """Return the largest divisor of a head's size up to the limit."""
    return next(group for group in range(min(size, limit), 0, -1) if size % group == 0)


def round_groups(states: Tensor, bits: int, limit: int = GROUP) -> Tensor:
    """Round the last dimension in groups to 2**bits evenly spaced values between a group's smallest and largest.

    Args:
        states: Any shape, floating point.
        bits: Width of a code.
        limit: Most numbers in a group.

    Returns:
        Shape and type of the states; computed in float32.
    """
    import torch

    group = group_of(states.shape[-1], limit)
    grouped = states.float().unflatten(-1, (-1, group))
    low, high = grouped.aminmax(dim=-1, keepdim=True)
    low = low.half().float()
    step = ((high - low) / (2**bits - 1)).half().float()
    codes = torch.round((grouped - low) / step.clamp_min(torch.finfo(torch.float16).tiny)).clamp_(0, 2**bits - 1)
    return (codes * step + low).flatten(-2).to(states.dtype)


def kv_rounding(bits: int, prefill: str) -> KvRounding | None:
    """Return the rounding of a cache, or None for 16 bits.

    Raises:
        UsageError: There is no such width or view.
    """
    return None if bits == 16 else KvRounding(bits, "visible" if prefill == "visible" else "invisible")
