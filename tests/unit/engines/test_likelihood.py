"""Log-likelihoods against lm-eval's own hf model, on a random Mistral."""

from __future__ import annotations

import random

import pytest
import torch

from qharness.engines.base import GenerationRequest, LikelihoodRequest
from qharness.engines.heads import Prompt
from qharness.engines.hf import Budgets
from qharness.engines.prefixes import PrefixTree, build_trees
from qharness.errors import UsageError

SAME = 1e-4
NARROW = Budgets(prefill=64, slots=200, rows=3)


def silent(done, total):
    pass


def token_requests(seed=0, longest=60):
    rng = random.Random(seed)
    requests = []
    for _ in range(12):
        context = tuple(rng.randrange(3, 259) for _ in range(rng.choice([1, 2, 9, 17, 40, longest])))
        first = rng.randrange(3, 259)
        choices = [(first,), (first, 7), (first, 7, 9), (first, 8), (11,), (12, 13, 14, 15)]
        requests += [LikelihoodRequest(context, choice) for choice in rng.sample(choices, 4)]
    return requests


def stock_answers(stock, requests):
    return stock._loglikelihood_tokens([(("", ""), list(c), list(k)) for c, k in requests], disable_tqdm=True)


def compare(got, want):
    assert max(abs(a.logprob - b[0]) for a, b in zip(got, want, strict=True)) < SAME
    assert [a.is_greedy for a in got] == [b[1] for b in want]


@pytest.mark.parametrize("budgets", [None, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("path", ["loglikelihood", "decode_loglikelihood"])
def test_equals_stock(make_engine, stock, path, budgets) -> None:
    requests = token_requests()
    compare(getattr(make_engine(budgets=budgets), path)(requests, silent), stock_answers(stock, requests))


@pytest.mark.parametrize("path", ["loglikelihood", "decode_loglikelihood"])
def test_truncates_from_the_left_as_stock(engine, stock, path) -> None:
    requests = token_requests(longest=200)
    assert max(len(r.context) for r in requests) > engine.max_length
    compare(getattr(engine, path)(requests, silent), stock_answers(stock, requests))


def test_is_greedy_of_the_models_own_words(engine, model) -> None:
    prompt = (5, 6, 7)
    with torch.no_grad():
        written = model.generate(torch.tensor([prompt]), max_new_tokens=4, do_sample=False, eos_token_id=None)
    words = tuple(written[0, 3:].tolist())
    wrong = (*words[:3], (words[3] + 1) % 259)
    for path in (engine.loglikelihood, engine.decode_loglikelihood):
        assert [a.is_greedy for a in path([LikelihoodRequest(prompt, w) for w in (words, wrong)], silent)] == [
            True,
            False,
        ]


def test_sliding_window_is_respected(make_engine, tokenizer, make_model, make_untouched) -> None:
    from lm_eval.models.huggingface import HFLM

    narrow = make_model(sliding_window=24)
    requests = token_requests()
    want = stock_answers(HFLM(pretrained=make_untouched(narrow), tokenizer=tokenizer), requests)
    engine = make_engine(model=narrow)
    compare(engine.loglikelihood(requests, silent), want)
    compare(engine.decode_loglikelihood(requests, silent), want)


def test_progress_reaches_the_end(engine) -> None:
    seen = []
    requests = token_requests()
    engine.loglikelihood(requests, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(requests), len(requests))
    assert seen == sorted(seen)


def test_choices_share_context_and_prefixes() -> None:
    context = (1, 2, 3)
    requests = [LikelihoodRequest(context, k) for k in ((4,), (5, 6), (5, 7, 8), (5, 7, 9))]
    (tree,) = build_trees(requests, max_length=100)
    assert tree.tokens == [1, 2, 3, 5, 7]
    assert tree.positions() == [0, 1, 2, 3, 4]
    assert [len(scored) for scored in tree.members.values()] == [1, 2, 3, 3]


def test_branches_do_not_see_each_other() -> None:
    tree = PrefixTree.of((1, 2))
    tree.add(0, (3, 4, 5))
    tree.add(1, (6, 7, 8))
    assert not tree.is_chain
    assert tree.positions() == [0, 1, 2, 3, 2, 3]
    assert tree.ancestors(5) == [5, 4]


@pytest.mark.parametrize(
    "request_", [LikelihoodRequest((), (3,)), LikelihoodRequest((3,), ()), LikelihoodRequest((3,), (3,) * 200)]
)
def test_impossible_requests_are_refused(engine, request_) -> None:
    with pytest.raises(UsageError):
        engine.loglikelihood([request_], silent)


def test_remembered_prompts_cost_no_pass_and_change_no_bit(make_engine, count_passes) -> None:
    requests = [LikelihoodRequest(tuple(range(3, 40 + n)), (k,)) for n in range(5) for k in (5, 6)]
    alone = [make_engine().decode_loglikelihood(requests[i : i + 2], silent) for i in range(0, 10, 2)]
    prompts = [GenerationRequest(request.context, (), 6) for request in requests[::2]]
    written = make_engine().generate(prompts, silent)
    engine = make_engine()
    calls = count_passes(engine)
    engine.loglikelihood(requests, silent)
    assert [tuple(shape) for shape in calls] == [(1, length) for length in (36, 5, 4, 3, 2, 1)]
    calls.clear()
    assert engine.generate(prompts, silent) == written
    together = engine.decode_loglikelihood(requests, silent)
    assert all(shape[1] == 1 for shape in calls)
    assert [a.logprob for a in together] == pytest.approx([a.logprob for pair in alone for a in pair], abs=1e-5)


def test_memory_of_prompts_is_bounded(engine) -> None:
    from qharness.engines.prefill import RememberingPrefill

    size = RememberingPrefill(engine._forward, 1 << 30).of(Prompt((3,) * 20)).size
    prefill = RememberingPrefill(engine._forward, 2 * size)
    with torch.inference_mode():
        states = {token: prefill.of(Prompt((token,) * 20)).state for token in (3, 4, 5, 4)}
        assert [prompt.tokens for prompt in prefill._kept] == [(5,) * 20, (4,) * 20]
        assert torch.equal(prefill.of(Prompt((3,) * 20)).state, states[3])
