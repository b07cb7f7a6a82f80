"""Which beginnings several contexts share, so that their keys and values are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

LEAST = 32
"""Shorter shared beginnings are not worth a pass of their own."""


class Prompt(NamedTuple):
    """Tokens, and after how many of them a beginning ends that other prompts have, too (ascending)."""

    tokens: tuple[int, ...]
    cuts: tuple[int, ...] = ()

    @property
    def head(self) -> Prompt | None:
        """Return the longest shared beginning, a prompt with its own shorter ones."""
        return Prompt(self.tokens[: self.cuts[-1]], self.cuts[:-1]) if self.cuts else None

    def within(self, length: int) -> Prompt:
        """Return the first tokens, with the cuts that leave at least one token behind them."""
        return Prompt(self.tokens[:length], tuple(cut for cut in self.cuts if cut < length))


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many leading tokens two sequences share."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def plan_heads(contexts: Sequence[tuple[int, ...]], least_rows: int = 2) -> list[Prompt]:
    """Cut every context where a beginning ends that others share.

    The plan follows from the contexts alone. A head leaves at least one token of every context behind it, whose state
    answers the request.

    Args:
        contexts: Token sequences, repetitions allowed.
        least_rows: Distinct contexts that must share a head.

    Returns:
        A prompt for each context, in their order.
    """
    ordered = sorted(set(contexts))
    shared = [0, *(common_length(a, b) for a, b in pairwise(ordered))]
    cuts: dict[tuple[int, ...], tuple[int, ...]] = {}
    blocks: list[tuple[int, int, tuple[int, ...]]] = [(0, len(ordered), ())]
    while blocks:
        first, last, so_far = blocks.pop()
        if last - first < least_rows or last - first < 2:
            cuts.update((context, so_far) for context in ordered[first:last])
            continue
        common = min(shared[first + 1 : last])
        depth = so_far[-1] if so_far else 0
        cut = min(common, len(ordered[first]) - 1)
        if cut - depth >= LEAST and (last - first - 1) * (cut - depth) >= 2 * LEAST:
            so_far = (*so_far, cut)
        edges = [first, *(place for place in range(first + 1, last) if shared[place] == common), last]
        blocks += [(low, high, so_far) for low, high in pairwise(edges)]
    return [Prompt(context, cuts[context]) for context in contexts]
