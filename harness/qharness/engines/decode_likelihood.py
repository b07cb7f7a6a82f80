"""Log-likelihoods through the decode path: the end of the context and the continuation pass one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from qharness.engines.decoding import Decoder
from qharness.engines.forward import Forward
from qharness.engines.heads import Prompt
from qharness.engines.likelihood import Answers, score_members
from qharness.engines.prefill import Prefill
from qharness.engines.prefixes import PrefixTree
from qharness.engines.slots import Slots

TAIL = 16
"""Context tokens that are fed one by one before the continuation."""


def tail_of(tree: PrefixTree) -> int:
    """Return how many context tokens of a tree are fed one by one; the first token always opens the cache."""
    return min(TAIL, tree.context - 1)


def decode_likelihood(
    forward: Forward, prefill: Prefill, trees: Sequence[PrefixTree], prompts: Sequence[Prompt]
) -> Answers:
    """Score all members of a batch of trees through the key-value cache.

    The prefix and the tail of a context are computed once; the rows multiply where continuations part.

    Args:
        forward: Model.
        prefill: Fills the slots with the prefixes.
        trees: Trees with equal `tail_of`.
        prompts: Their contexts.
    """
    tail = tail_of(trees[0])
    levels = [level_nodes(tree) for tree in trees]
    depth = max(len(level) for level in levels)
    cuts = [tree.context - tail for tree in trees]
    decoder = Decoder(forward, prefill, Slots(len(trees), max(cuts) + tail + depth))
    decoder.admit(range(len(trees)), prompts, cuts)
    for offset in range(tail):
        decoder.step([tree.tokens[cut + offset] for tree, cut in zip(trees, cuts, strict=True)])
    alive = [(place, tree.context - 1) for place, tree in enumerate(trees)]
    seen = list(alive)
    states = [decoder.states.clone()]
    for level in range(depth):
        row_of = {node: row for row, node in enumerate(alive)}
        alive = [(place, node) for place, nodes in enumerate(levels) if level < len(nodes) for node in nodes[level]]
        decoder.select([row_of[place, trees[place].parents[node]] for place, node in alive])
        states.append(decoder.step([trees[place].tokens[node] for place, node in alive]))
        seen.extend(alive)
    needed = {(place, s.node) for place, tree in enumerate(trees) for m in tree.members.values() for s in m}
    kept = [row for row, node in enumerate(seen) if node in needed]
    logits = forward.logits(torch.cat(states)[kept])
    return score_members(trees, logits, {seen[row]: place for place, row in enumerate(kept)})


def level_nodes(tree: PrefixTree) -> list[list[int]]:
    """Return the branch nodes by their distance from the context."""
    levels: list[list[int]] = []
    positions = tree.positions()
    for node in range(tree.context, len(tree.tokens)):
        level = positions[node] - tree.context
        if level == len(levels):
            levels.append([])
        levels[level].append(node)
    return levels
