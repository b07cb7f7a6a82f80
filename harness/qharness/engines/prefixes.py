"""Requests that share a context, as prefix trees: every distinct token is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from qharness.engines.base import LikelihoodRequest
from qharness.errors import UsageError


class Scored(NamedTuple):
    """A continuation token and the node whose logits score it."""

    node: int
    token: int


@dataclass
class PrefixTree:
    """One context and all continuations asked after it.

    The nodes are the tokens fed to the model: first those of the context (a chain), then the inner tokens of the
    continuations; the last token of a continuation is only scored.

    Attributes:
        context: Number of context tokens.
        tokens: Token of each node.
        parents: Parent of each node, -1 for the first.
        members: By index of the request, its continuation with the scoring nodes.
    """

    context: int
    tokens: list[int]
    parents: list[int]
    members: dict[int, list[Scored]] = field(default_factory=dict)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, context: Sequence[int]) -> PrefixTree:
        """Return the tree of a context without continuations."""
        return cls(len(context), list(context), list(range(-1, len(context) - 1)))

    def add(self, index: int, continuation: Sequence[int]) -> None:
        """Add the continuation of request `index`."""
        node = self.context - 1
        scored = []
        for place, token in enumerate(continuation):
            scored.append(Scored(node, token))
            if place + 1 < len(continuation):
                node = self._child(node, token)
        self.members[index] = scored

    def _child(self, node: int, token: int) -> int:
        found = self._children.get((node, token))
        if found is None:
            found = len(self.tokens)
            self._children[node, token] = found
            self.tokens.append(token)
            self.parents.append(node)
        return found

    @property
    def is_bare(self) -> bool:
        """Whether all continuations are single tokens, so that the context's last logits score them all."""
        return len(self.tokens) == self.context

    @property
    def is_chain(self) -> bool:
        """Whether no node has two children, so that plain causal attention serves."""
        return self.parents == list(range(-1, len(self.tokens) - 1))

    def positions(self) -> list[int]:
        """Return the position of each node in its own sequence."""
        depth: list[int] = []
        for parent in self.parents:
            depth.append(depth[parent] + 1 if parent >= 0 else 0)
        return depth

    def ancestors(self, node: int) -> list[int]:
        """Return the branch nodes that `node` sees, itself included, without the context."""
        seen = []
        while node >= self.context:
            seen.append(node)
            node = self.parents[node]
        return seen


def effective_context(request: LikelihoodRequest, max_length: int) -> tuple[int, ...]:
    """Return the context that is left after truncation from the left to max_length + 1 tokens in all (as lm-eval does).

    Raises:
        UsageError: Context or continuation is empty, or the continuation alone is too long.
    """
    if not request.context or not request.continuation:
        raise UsageError("A likelihood request needs a context and a continuation of at least one token each.")
    room = max_length + 1 - len(request.continuation)
    if room < 1:
        raise UsageError(
            f"A continuation of {len(request.continuation)} tokens exceeds the model's maximum length of {max_length}."
        )
    return request.context[-room:]


def build_trees(requests: Sequence[LikelihoodRequest], max_length: int, share: bool = True) -> list[PrefixTree]:
    """Group requests by their effective context, in the order of first appearance.

    Args:
        requests: Requests; their indexes become the members of the trees.
        max_length: Positions the model has.
        share: Whether requests of one context share a tree; otherwise each has its own.
    """
    trees: dict[object, PrefixTree] = {}
    for index, request in enumerate(requests):
        context = effective_context(request, max_length)
        tree = trees.setdefault(context if share else index, PrefixTree.of(context))
        tree.add(index, request.continuation)
    return list(trees.values())
