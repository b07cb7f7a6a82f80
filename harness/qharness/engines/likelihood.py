"""Log-likelihoods in prefill: one forward over the prefix trees of a batch, or a remembered prompt and its branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from qharness.engines.base import Likelihood
from qharness.engines.forward import Forward
from qharness.engines.heads import Prompt
from qharness.engines.prefill import Prefill
from qharness.engines.prefixes import PrefixTree, Scored
from qharness.engines.slots import Slots, head_cache
from qharness.engines.transfer import download, upload

Answers = Callable[[], Mapping[int, Likelihood]]
"""Waits for the device and returns the likelihoods by the index of the request."""
Node = tuple[int, int]
"""A node of a batch: place of the tree, node of the tree."""


def tree_mask(trees: Sequence[PrefixTree], contexts: int, branches: int, first: int) -> Tensor:
    """Return which keys the tokens of a batch see.

    Queries and keys of a row are its context, padded on the right to `contexts` tokens, and then its branch nodes.

    Args:
        trees: Trees of the batch.
        contexts: Padded length of the contexts.
        branches: Padded number of branch nodes.
        first: How many queries are left out at the start.

    Returns:
        Bool, shape (trees, 1, queries, keys).
    """
    length = contexts + branches
    allowed = torch.ones(length, length, dtype=torch.bool).tril()[first:].repeat(len(trees), 1, 1)
    for row, tree in enumerate(trees):
        allowed[row, contexts - first :, tree.context :] = False
        for node in range(tree.context, len(tree.tokens)):
            seen = [contexts + other - tree.context for other in tree.ancestors(node)]
            allowed[row, contexts - first + node - tree.context, seen] = True
    return allowed.unsqueeze(1)


def score_members(trees: Sequence[PrefixTree], logits: Tensor, row_of: Mapping[Node, int]) -> Answers:
    """Score every member of the trees from the logits of its nodes.

    Args:
        trees: Trees of the batch.
        logits: Logits, float32, shape (nodes, vocabulary).
        row_of: Row of the logits by (tree, node).
    """
    pairs: list[tuple[int, int]] = []
    members: list[tuple[int, list[Scored]]] = []
    for place, tree in enumerate(trees):
        for index, scored in tree.members.items():
            members.append((index, scored))
            pairs.extend((row_of[place, node], token) for node, token in scored)
    rows, tokens = upload(list(zip(*pairs, strict=True)), logits.device)
    logprobs = logits[rows, tokens] - torch.logsumexp(logits, dim=-1)[rows]
    hits = logits.argmax(dim=-1)[rows] == tokens
    fetched = download(torch.stack([logprobs, hits.float()]))

    def answers() -> dict[int, Likelihood]:
        values, greedy = fetched().tolist()
        found: dict[int, Likelihood] = {}
        start = 0
        for index, scored in members:
            stop = start + len(scored)
            found[index] = Likelihood(sum(values[start:stop]), all(greedy[start:stop]))
            start = stop
        return found

    return answers


def prefill_likelihood(
    forward: Forward, prefill: Prefill, trees: Sequence[PrefixTree], head: Prompt | None = None
) -> Answers:
    """Score all members of a batch of trees by one forward pass behind their shared head.

    Padding is on the right of the contexts, where causal attention never sees it; only branches need a mask.

    Args:
        forward: Model.
        prefill: Computes the head.
        trees: Trees whose contexts begin with the head; either all of them are chains or none.
        head: What they share, or None.
    """
    skipped = len(head.tokens) if head else 0
    cache = None
    if head:
        found = prefill.of(head)
        cache = head_cache(found.keys, found.values)
    row_of = scored_nodes(trees)
    if trees[0].is_chain:
        states = forward.hidden(forward.pad([tree.tokens[skipped:] for tree in trees]), cache=cache)
        columns = [node - skipped for _, node in row_of]
    else:
        contexts = max(tree.context for tree in trees)
        branches = max(len(tree.tokens) - tree.context for tree in trees)
        rows = [
            [*tree.tokens[skipped : tree.context], *[0] * (contexts - tree.context), *tree.tokens[tree.context :]]
            for tree in trees
        ]
        places = [[*range(skipped, contexts), *tree.positions()[tree.context :]] for tree in trees]
        first = contexts if forward.splits_masks and not head else skipped
        mask = forward.additive(tree_mask(trees, contexts, branches, first))
        states = forward.hidden(forward.pad(rows), forward.pad(places), mask, cache)
        columns = [
            node - skipped if node < trees[place].context else node - trees[place].context + contexts - skipped
            for place, node in row_of
        ]
    at = forward.ids([[place for place, _ in row_of], columns])
    return score_members(trees, forward.logits(states[at[0], at[1]]), row_of)


def branch_likelihood(
    forward: Forward, prefill: Prefill, trees: Sequence[PrefixTree], prompts: Sequence[Prompt]
) -> Answers:
    """Score all members of a batch of trees from remembered prompts and one pass over all branches.

    Args:
        forward: Model.
        prefill: Remembers the prompts that other evaluators ask for, too.
        trees: Trees of the batch.
        prompts: Their contexts.
    """
    contexts = max(tree.context for tree in trees)
    branches = max(len(tree.tokens) - tree.context for tree in trees)
    row_of = scored_nodes(trees)
    if not branches:
        states = torch.stack([prefill.of(prompt).state for prompt in prompts])
        return score_members(trees, forward.logits(states), row_of)
    slots = Slots(len(trees), contexts + branches)
    ends = prefill.fill(slots, range(len(trees)), prompts, [tree.context for tree in trees])
    mask = forward.additive(tree_mask(trees, contexts, branches, contexts))
    tokens = forward.pad([tree.tokens[tree.context :] for tree in trees])
    positions = forward.pad([tree.positions()[tree.context :] for tree in trees])
    inner = forward.hidden(tokens, positions, mask, slots.cache(forward.layers, contexts))
    states = torch.stack(
        [
            ends[place] if node < trees[place].context else inner[place, node - trees[place].context]
            for place, node in row_of
        ]
    )
    return score_members(trees, forward.logits(states), row_of)


def scored_nodes(trees: Sequence[PrefixTree]) -> dict[Node, int]:
    """Return the nodes whose logits are needed, each with a row of its own."""
    row_of: dict[Node, int] = {}
    for place, tree in enumerate(trees):
        for scored in tree.members.values():
            for node, _ in scored:
                row_of.setdefault((place, node), len(row_of))
    return row_of
