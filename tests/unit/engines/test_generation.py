"""Generation against lm-eval's own hf model, on a random Mistral."""

from __future__ import annotations

import random

import pytest
import torch
from lm_eval.api.instance import Instance

from qharness.engines.base import GenerationRequest
from qharness.engines.hf import Budgets
from qharness.errors import UsageError
from qharness.evaluation.lm import EngineLM

WORDS = ("Ala", "ma", "kota", "żółw", "i", "psa", "nie", "Tak", "zielony", "las", ".")


def silent(done, total):
    pass


def prompts(count=24, longest=30):
    rng = random.Random(1)
    return [" ".join(rng.choices(WORDS, k=rng.choice([1, 2, 5, longest]))) for _ in range(count)]


def instances(texts, **settings):
    kwargs = {"until": [], "max_gen_toks": 24, "do_sample": False, "temperature": 0.0} | settings
    return [Instance("generate_until", {}, (text, dict(kwargs)), i, ("task", i, 1)) for i, text in enumerate(texts)]


@pytest.mark.parametrize("until", [[], ["e"], ["\n", ".", "ee", "</s>"], ["gee", "\x05\x05"]])
@pytest.mark.parametrize("budgets", [None, Budgets(prefill=64, slots=300, rows=5)], ids=["wide", "narrow"])
def test_equals_stock(make_engine, stock, until, budgets) -> None:
    asked = instances(prompts(), until=until)
    want = stock.generate_until(asked, disable_tqdm=True)
    got = EngineLM(make_engine(budgets=budgets), "prefill", silent).generate_until(asked)
    assert got == want
    assert len(set(want)) > 5


def test_end_of_text_ends_it_as_in_stock(make_engine, tokenizer, make_model, make_untouched) -> None:
    from lm_eval.models.huggingface import HFLM

    eager = make_model(eos_token_id=2)
    with torch.no_grad():
        eager.lm_head.weight[2] += 0.25 * eager.lm_head.weight.abs().mean() + eager.lm_head.weight[9]
    asked = instances(prompts())
    lm = EngineLM(make_engine(model=eager), "prefill", silent)
    assert lm.generate_until(asked) == HFLM(pretrained=make_untouched(eager), tokenizer=tokenizer).generate_until(
        asked, disable_tqdm=True
    )
    finishes = {answer.finish for answer in lm.generations.values()}
    assert "eos" in finishes


def test_long_prompts_lose_their_beginning_as_in_stock(make_engine, stock) -> None:
    texts = prompts(6, longest=60)
    assert max(map(len, texts)) > 200
    asked = instances(texts)
    assert EngineLM(make_engine(), "prefill", silent).generate_until(asked) == stock.generate_until(
        asked, disable_tqdm=True
    )


def test_stop_string_is_cut_and_named(engine, tokenizer) -> None:
    prompt = tuple(tokenizer.encode("Ala ma kota"))
    (free,) = engine.generate([GenerationRequest(prompt, (), 12)], silent)
    stop = tokenizer.decode(free.tokens[5:7])
    (cut,) = engine.generate([GenerationRequest(prompt, (stop,), 12)], silent)
    assert cut.finish == "stop" and free.finish == "length"
    assert stop not in cut.text and free.text.startswith(cut.text)
    assert len(cut.tokens) <= 7


def test_sampling_depends_on_the_seed_alone(engine) -> None:
    def ask(*seeds):
        return [a.tokens for a in engine.generate([GenerationRequest((5, 6), (), 10, 1.0, s) for s in seeds], silent)]

    first, second = ask(1, 2)
    assert first != second
    assert ask(2, 1) == [second, first]


def test_no_room_to_generate_is_refused(engine) -> None:
    with pytest.raises(UsageError, match="maximum"):
        engine.generate([GenerationRequest((5,), (), engine.max_length)], silent)
