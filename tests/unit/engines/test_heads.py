"""The least number of tokens against counting the beginnings one by one, and the engine against it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from qharness.bench.least import least_tokens, scored_rows
from qharness.engines.base import LikelihoodRequest
from qharness.engines.heads import LEAST, common_length, plan_heads


def random_rows(seed, count=40, alphabet=3, longest=9):
    rng = random.Random(seed)
    return [tuple(rng.choices(range(alphabet), k=rng.randint(1, longest))) for _ in range(count)]


@pytest.mark.parametrize("seed", range(8))
def test_least_tokens_are_the_distinct_beginnings(seed) -> None:
    rows = random_rows(seed)
    assert least_tokens(rows) == len({row[:end] for row in rows for end in range(1, len(row) + 1)})


def test_last_tokens_are_only_scored_and_truncation_comes_first() -> None:
    requests = [
        LikelihoodRequest((1, 2, 3), (4,)),
        LikelihoodRequest((1, 2, 3), (4, 5)),
        LikelihoodRequest((9,) * 9, (7,)),
    ]
    assert scored_rows(requests, max_length=5) == [(1, 2, 3), (1, 2, 3, 4), (9,) * 5]
    assert least_tokens(scored_rows(requests, 5)) == 9


@pytest.mark.parametrize("seed", range(4))
def test_common_length_is_that_of_a_loop(seed) -> None:
    rows = random_rows(seed, alphabet=2)
    for first, second in pairwise(rows):
        want = 0
        while want < min(len(first), len(second)) and first[want] == second[want]:
            want += 1
        assert common_length(first, second) == want


def family(rng, depth, length):
    """Return contexts that share a head, and parts of which share a longer one."""
    head = tuple(rng.choices(range(100, 999), k=LEAST * 2))
    if depth == 0:
        return [(*head, *rng.choices(range(100, 999), k=length)) for _ in range(3)]
    return [(*head, *rest) for _ in range(2) for rest in family(rng, depth - 1, length)]


def test_heads_cut_where_contexts_part() -> None:
    rng = random.Random(0)
    contexts = family(rng, 2, 5)
    prompts = plan_heads([*contexts, *contexts[:2], (1, 2, 3)])
    assert [prompt.tokens for prompt in prompts] == [*contexts, *contexts[:2], (1, 2, 3)]
    assert {prompt.cuts for prompt in prompts[:12]} == {(2 * LEAST, 4 * LEAST, 6 * LEAST)}
    assert prompts[-1].cuts == ()
    pieces = {(p.tokens[:cut]) for p in prompts for cut in (*p.cuts, len(p.tokens))}
    fed = sum(len(piece) - max(c for c in (0, 2 * LEAST, 4 * LEAST, 6 * LEAST) if c < len(piece)) for piece in pieces)
    assert fed == least_tokens(contexts) + 3


def test_a_head_leaves_a_token_behind_it() -> None:
    context = tuple(range(200))
    prompts = plan_heads([context, context[:150], (*context[:150], 7)])
    assert all(cut < len(prompt.tokens) for prompt in prompts for cut in prompt.cuts)
    assert {prompt.cuts[:1] for prompt in prompts} == {(149,)}


def test_few_sharers_are_not_worth_a_head() -> None:
    contexts = [(*range(100), n) for n in range(5)]
    assert all(prompt.cuts for prompt in plan_heads(contexts, 5))
    assert not any(prompt.cuts for prompt in plan_heads(contexts, 6))


@pytest.mark.parametrize("batched", [False, True], ids=["one-by-one", "batches"])
def test_the_engine_feeds_each_shared_token_once(make_engine, batched) -> None:
    from qharness.engines.hf import Budgets

    rng = random.Random(3)
    head = tuple(rng.choices(range(3, 259), k=70))
    contexts = [(*head, *rng.choices(range(3, 259), k=12)) for _ in range(10)]
    requests = [LikelihoodRequest(context, k) for context in contexts for k in ((5,), (6, 7), (6, 8, 9))]
    engine = make_engine(budgets=Budgets(prefill=4000, slots=4000, rows=16) if batched else None)
    alone = [make_engine().loglikelihood(requests[i : i + 3], lambda d, t: None) for i in range(0, 30, 3)]
    answers = engine.loglikelihood(requests, lambda done, total: None)
    assert engine.tokens_fed == least_tokens(scored_rows(requests, engine.max_length))
    assert [a.logprob for a in answers] == pytest.approx([a.logprob for three in alone for a in three], abs=1e-4)
