"""Tokenisation and settings of the adapter, against lm-eval's own hf model."""

from __future__ import annotations

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers.processors import TemplateProcessing

from qharness.errors import UsageError
from qharness.evaluation.answers import answer_token, median_answer_token
from qharness.evaluation.lm import EngineLM

PAIRS = [
    ("Ala ma", " kota"),
    ("Ala ma ", "kota"),
    ("", "Tak"),
    ("", "<s>Tak"),
    ("<s>Ala", " ma"),
    ("a\n", " b"),
    ("Ala", " żółw  "),
]


def silent(done, total):
    pass


@pytest.fixture(params=[False, True], ids=["plain", "adds-bos"])
def lms(request, make_engine, make_untouched, model, tokenizer):
    processor = tokenizer.backend_tokenizer.post_processor
    if request.param:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    yield EngineLM(make_engine(), "prefill", silent), HFLM(pretrained=make_untouched(model), tokenizer=tokenizer)
    tokenizer.backend_tokenizer.post_processor = processor


def test_likelihoods_of_strings_equal_stock(lms) -> None:
    asked = [Instance("loglikelihood", {}, pair, i, ("task", i, 1)) for i, pair in enumerate(PAIRS)]
    got, want = (lm.loglikelihood(asked, disable_tqdm=True) for lm in lms)
    assert [greedy for _, greedy in got] == [greedy for _, greedy in want]
    assert [value for value, _ in got] == pytest.approx([value for value, _ in want], abs=1e-4)


def test_prompts_are_tokenised_as_stock_does(lms) -> None:
    ours, stock = lms
    texts = ("Ala ma kota", "<s>Ala", " Ala\n", "żółw")
    for text, tokens in zip(texts, ours.encode_prompts(texts), strict=True):
        assert list(tokens) == stock.tok_batch_encode([text])[0][0].tolist()


def test_rolling_likelihood_equals_stock(lms) -> None:
    texts = ["Ala ma kota. " * n for n in (1, 30, 400)]
    asked = [Instance("loglikelihood_rolling", {}, (text,), i, ("task", i, 1)) for i, text in enumerate(texts)]
    got, want = (lm.loglikelihood_rolling(asked, disable_tqdm=True) for lm in lms)
    assert got == pytest.approx(want, rel=1e-5)


def test_unknown_generation_setting_is_refused(make_engine) -> None:
    lm = EngineLM(make_engine(), "prefill", silent)
    asked = [Instance("generate_until", {}, ("Ala", {"until": ["."], "top_k": 5}), 0, ("task", 0, 1))]
    with pytest.raises(UsageError, match="top_k"):
        lm.generate_until(asked)


def test_answer_token_is_where_the_answer_begins(make_engine, tokenizer) -> None:
    from qharness.engines.base import Generation

    tokens = tuple(tokenizer.encode(" żB. dalej"))
    generation = Generation(" żB", tokens, "stop")
    assert tokenizer.decode(tokens[answer_token(generation, "B", tokenizer)]) == "B"
    assert answer_token(generation, "ż", tokenizer) == 1
    assert answer_token(generation, "[invalid]", tokenizer) == -1


def test_answers_that_were_not_found_do_not_move_the_median_place() -> None:
    assert median_answer_token([0, -1, 3, 4, -1]) == 3
    assert median_answer_token([-1]) is None and median_answer_token([]) is None
