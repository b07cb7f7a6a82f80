"""The least number of tokens that exact prefix sharing must forward."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from qharness.engines.base import Generation, GenerationRequest, LikelihoodRequest
from qharness.engines.heads import common_length
from qharness.engines.prefixes import effective_context


def least_tokens(rows: Iterable[Sequence[int]]) -> int:
    """Return the number of distinct non-empty beginnings of the rows: each must go through the model at least once."""
    ordered = sorted({tuple(row) for row in rows})
    return sum(map(len, ordered)) - sum(common_length(a, b) for a, b in pairwise(ordered))


def scored_rows(requests: Sequence[LikelihoodRequest], max_length: int) -> list[tuple[int, ...]]:
    """Return what must be fed to score the requests: all but the last token of each, truncated as lm-eval does."""
    return [(*effective_context(request, max_length), *request.continuation[:-1]) for request in requests]


def written_rows(requests: Sequence[GenerationRequest], answers: Sequence[Generation]) -> list[tuple[int, ...]]:
    """Return what must be fed to write the answers: the prompts and all but the last token that was written."""
    return [(*r.prompt, *a.tokens[:-1]) for r, a in zip(requests, answers, strict=True)]
