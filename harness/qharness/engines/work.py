"""What the batches of the transformers engine forward, told from the requests alone."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from qharness.engines.base import GenerationRequest
from qharness.engines.batching import plan_batches
from qharness.engines.decode_likelihood import level_nodes, tail_of
from qharness.engines.heads import Prompt
from qharness.engines.planned import Work
from qharness.engines.prefixes import PrefixTree


@dataclass(frozen=True)
class WorkCounter:
    """Counts as the engine computes.

    Attributes:
        remembers: Whether prompts are prefilled one by one and remembered; else only their shared heads are.
        sees_all: Whether every token sees all before it.
        budget: Most tokens of one prefill pass.
    """

    remembers: bool
    sees_all: bool
    budget: int

    def prefill(self, trees: Sequence[PrefixTree], prompts: Sequence[Prompt]) -> Work:
        """Return the work of scoring a batch of trees in prefill."""
        branches = max(len(tree.tokens) - tree.context for tree in trees)
        if self.remembers and self.sees_all:
            return Work(prefill=len(trees) * branches, pieces=pieces_of(prompts))
        head = prompts[0].head
        skipped = len(head.tokens) if head else 0
        if trees[0].is_chain:
            length = max(len(tree.tokens) for tree in trees)
        else:
            length = max(tree.context for tree in trees) + branches
        return Work(prefill=len(trees) * (length - skipped), pieces=pieces_of([head] if head else []))

    def decode(self, trees: Sequence[PrefixTree], prompts: Sequence[Prompt]) -> Work:
        """Return the work of scoring a batch of trees through the cache."""
        tail = tail_of(trees[0])
        levels = [level_nodes(tree) for tree in trees]
        depth = max(map(len, levels))
        widths = [sum(len(level[place]) for level in levels if place < len(level)) for place in range(depth)]
        cuts = [tree.context - tail for tree in trees]
        prefill, pieces = self._filling(prompts, cuts)
        slots = max([len(trees), *widths]) * (max(cuts) + tail + depth)
        return Work(prefill, tail * len(trees) + sum(widths), slots, pieces)

    def generation(self, requests: Sequence[GenerationRequest], prompts: Sequence[Prompt], rows: int) -> Work:
        """Return the work of continuing a batch of prompts, each to its limit; the prefill brings the first token.

        Where prompts are admitted in batches, as rows fall free, those are taken to be as large as they may be.
        """
        prefill, pieces = self._filling(prompts, [len(prompt.tokens) for prompt in prompts])
        decode = sum(request.max_new_tokens - 1 for request in requests)
        longest = max(len(request.prompt) + request.max_new_tokens for request in requests)
        return Work(prefill, decode, min(rows, len(requests)) * longest, pieces)

    def _filling(self, prompts: Sequence[Prompt], lengths: Sequence[int]) -> tuple[int, dict[Hashable, int]]:
        """Return what it takes to fill rows with the first tokens of prompts."""
        if self.remembers:
            return 0, pieces_of(prompts)
        asked = [prompt.within(length) for prompt, length in zip(prompts, lengths, strict=True)]
        heads = [prompt.head for prompt in asked]
        tails = [len(prompt.tokens) - (prompt.cuts[-1] if prompt.cuts else 0) for prompt in asked]
        passes = plan_batches(tails, self.budget, heads)
        prefill = sum(len(rows) * max(tails[row] for row in rows) for rows in passes)
        return prefill, pieces_of([head for head in heads if head])


def pieces_of(prompts: Sequence[Prompt]) -> dict[Hashable, int]:
    """Return the pieces that prompts are computed in, each behind its head, with the tokens of each."""
    found: dict[Hashable, int] = {}
    for prompt in prompts:
        piece: Prompt | None = prompt
        while piece is not None and piece not in found:
            found[piece] = len(piece.tokens) - (piece.cuts[-1] if piece.cuts else 0)
            piece = piece.head
    return found
