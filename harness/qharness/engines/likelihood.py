"""Log-likelihoods in prefill: one forward over the prefix trees of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qharness.engines.base import Likelihood
from qharness.engines.forward import Forward
from qharness.engines.prefill import RememberingPrefill
from qharness.engines.prefixes import PrefixTree, Scored


def tree_mask(trees: Sequence[PrefixTree], length: int) -> Tensor:
    """Return which tokens each token sees, bool, shape (trees, 1, length, length)."""
    allowed = torch.ones(length, length, dtype=torch.bool).tril().repeat(len(trees), 1, 1)
    for row, tree in enumerate(trees):
        allowed[row, tree.context : len(tree.tokens), tree.context :] = False
        for node in range(tree.context, len(tree.tokens)):
            allowed[row, node, tree.ancestors(node)] = True
    return allowed.unsqueeze(1)


def score_members(
    trees: Sequence[PrefixTree], logits: Tensor, row_of: dict[tuple[int, int], int]
) -> dict[int, Likelihood]:
    """Score every member of the trees from the logits of its nodes.

    Args:
        trees: Trees of the batch.
        logits: Logits, float32, shape (nodes, vocabulary).
        row_of: Row of the logits by (tree, node).
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    best = logits.argmax(dim=-1).tolist()
    pairs: list[tuple[int, int]] = []
    members: list[tuple[int, list[Scored], int]] = []
    for place, tree in enumerate(trees):
        for index, scored in tree.members.items():
            members.append((index, scored, place))
            pairs.extend((row_of[place, node], token) for node, token in scored)
    rows, tokens = (torch.tensor(column, device=logits.device) for column in zip(*pairs, strict=True))
    values = logprobs[rows, tokens].tolist()
    answers: dict[int, Likelihood] = {}
    start = 0
    for index, scored, place in members:
        stop = start + len(scored)
        is_greedy = all(best[row_of[place, node]] == token for node, token in scored)
        answers[index] = Likelihood(sum(values[start:stop]), is_greedy)
        start = stop
    return answers


def prefill_likelihood(forward: Forward, trees: Sequence[PrefixTree]) -> dict[int, Likelihood]:
    """Score all members of a batch of trees by one forward pass.

    Padding is on the right, where causal attention never sees it; only branching trees need a mask.

    Returns:
        Likelihoods by the index of the request.
    """
    tokens = forward.pad([tree.tokens for tree in trees])
    if all(tree.is_chain for tree in trees):
        states = forward.hidden(tokens)
    else:
        mask = forward.additive(tree_mask(trees, tokens.shape[1]))
        states = forward.hidden(tokens, forward.pad([tree.positions() for tree in trees]), mask)
    row_of: dict[tuple[int, int], int] = {}
    for place, tree in enumerate(trees):
        for scored in tree.members.values():
            for node, _ in scored:
                row_of.setdefault((place, node), len(row_of))
    rows, nodes = (torch.tensor(column, device=states.device) for column in zip(*row_of, strict=True))
    return score_members(trees, forward.logits(states[rows, nodes]), row_of)


def remembered_likelihood(
    forward: Forward, prefill: RememberingPrefill, trees: Sequence[PrefixTree]
) -> dict[int, Likelihood]:
    """Score single-token continuations from the last states of prompts that other evaluators ask for, too."""
    states = torch.stack([prefill.of(tree.tokens).state for tree in trees])
    return score_members(trees, forward.logits(states), {(i, tree.context - 1): i for i, tree in enumerate(trees)})
