"""What the batches of the transformers engine forward, told from the requests alone."""

from __future__ import annotations

from collections.abc import Sequence

from qharness.engines.base import GenerationRequest
from qharness.engines.batching import plan_batches
from qharness.engines.decode_likelihood import level_nodes, tail_of
from qharness.engines.planned import Work
from qharness.engines.prefixes import PrefixTree


def prefill_work(trees: Sequence[PrefixTree], remembers: bool) -> Work:
    """Return the work of scoring a batch of trees in prefill.

    Args:
        trees: Trees of the batch.
        remembers: Whether prompts are prefilled one by one and remembered.
    """
    if remembers and trees[0].is_bare:
        return Work(prompts=tuple(tuple(tree.tokens) for tree in trees))
    return Work(prefill=padded([len(tree.tokens) for tree in trees]))


def decode_work(trees: Sequence[PrefixTree], remembers: bool, budget: int) -> Work:
    """Return the work of scoring a batch of trees through the cache.

    Args:
        trees: Trees of the batch.
        remembers: Whether prompts are prefilled one by one and remembered.
        budget: Most tokens of one prefill pass.
    """
    tail = tail_of(trees[0])
    levels = [level_nodes(tree) for tree in trees]
    depth = max(map(len, levels))
    widths = [sum(len(level[place]) for level in levels if place < len(level)) for place in range(depth)]
    cuts = [tree.context - tail for tree in trees]
    prompts = [tuple(tree.tokens[: tree.context]) for tree in trees]
    return _with_prompts(
        prompts,
        cuts,
        remembers,
        budget,
        decode=tail * len(trees) + sum(widths),
        slots=max([len(trees), *widths]) * (max(cuts) + tail + depth),
    )


def generation_work(requests: Sequence[GenerationRequest], remembers: bool, budget: int) -> Work:
    """Return the work of continuing a batch of prompts, each to its limit; the prefill brings the first token.

    Args:
        requests: Requests of the batch.
        remembers: Whether prompts are prefilled one by one and remembered.
        budget: Most tokens of one prefill pass.
    """
    prompts = [request.prompt for request in requests]
    room = max(request.max_new_tokens for request in requests)
    return _with_prompts(
        prompts,
        [len(prompt) for prompt in prompts],
        remembers,
        budget,
        decode=len(requests) * (room - 1),
        slots=len(requests) * (max(map(len, prompts)) + room),
    )


def padded(lengths: Sequence[int]) -> int:
    """Return the tokens of rows that are padded to the longest."""
    return len(lengths) * max(lengths)


def _with_prompts(
    prompts: Sequence[tuple[int, ...]], lengths: Sequence[int], remembers: bool, budget: int, decode: int, slots: int
) -> Work:
    if remembers:
        return Work(0, decode, slots, tuple(prompts))
    passes = plan_batches(lengths, budget)
    return Work(sum(padded([lengths[row] for row in rows]) for rows in passes), decode, slots)
