"""`divergence` and `collapse`: what they say of the same model, of a noisy one, and of texts of each kind."""

from __future__ import annotations

import math

import pytest
import torch

from qharness.engines.base import Generation, GenerationRequest, LikelihoodRequest
from qharness.errors import UsageError
from qharness.evaluation.collapse import Band, judge_text, language_drift, run_collapse
from qharness.evaluation.divergence import Step, run_divergence, summary
from qharness.evaluation.free import SETTINGS, run_free_wide
from qharness.evaluation.openings import load_prompts

LIMIT = 2


@pytest.fixture
def noisy(make_engine, make_untouched, model):
    """An engine of the same model with disturbed weights."""
    twin = make_untouched(model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in twin.parameters():
            weight += 0.05 * weight.std() * torch.randn(weight.shape, generator=generator) if weight.ndim > 1 else 0
    return make_engine(model=twin, digest="noisy")


def values(found, metric):
    return [sample.value for sample in found.samples if sample.metric == metric]


def test_a_model_does_not_diverge_from_itself(make_context, make_engine):
    found = run_divergence(make_context(limit=LIMIT, baseline=make_engine))
    rows = {row.metric: row.value for row in found.results}
    assert rows["kl_mean"] < 1e-6 and rows["same_top1"] == rows["agreement"] == 1
    assert "first_divergent" not in rows
    assert len(values(found, "kl_p99")) == LIMIT


def test_divergence_equals_whole_passes_and_agreement_the_free_running_text(make_context, make_engine, noisy):
    found = run_divergence(make_context(limit=LIMIT, engine=noisy, baseline=make_engine))
    exact = make_engine()
    kl, texts = values(found, "kl_mean"), {s.doc_id: s for s in found.samples}
    for place, prompt in enumerate(load_prompts()[:LIMIT]):
        context = tuple(exact.tokenizer(prompt.prompt)["input_ids"])
        asked = [GenerationRequest(context, (), 256)]
        path = exact.generate(asked, lambda *_: None)[0].tokens
        p, q = (e.path_logits(LikelihoodRequest(context, path)).double().log_softmax(-1) for e in (exact, noisy))
        assert kl[place] == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-3)
        own = noisy.generate(asked, lambda *_: None)[0].tokens
        common = next((i for i, (a, b) in enumerate(zip(path, own, strict=False)) if a != b), len(path))
        assert values(found, "agreement")[place] == pytest.approx(common / len(path))
        assert texts[place].tokens == len(path)


def test_metrics_of_a_known_sequence():
    steps = [Step(0.0, True), Step(0.1, True), Step(0.4, False), Step(0.3, True)] + [Step(0.2, False)] * 6
    found = summary(steps)
    assert found["kl_mean"] == pytest.approx(0.2)
    assert found["first_divergent"] == 2 and found["agreement"] == 0.2
    assert found["divergent_share"] == pytest.approx(0.7) and found["same_top1"] == pytest.approx(0.3)
    assert found["kl_at_1"] == 0 and found["kl_at_9_32"] == pytest.approx(0.2) and found["kl_at_33_128"] is None


def test_without_a_baseline_or_distributions_they_say_so(make_context, make_engine):
    with pytest.raises(UsageError, match="unquantized"):
        run_divergence(make_context(limit=1))

    class Blind:
        name = "blind"

    context = make_context(limit=1, baseline=make_engine)
    context.engine = Blind()
    with pytest.raises(UsageError, match=r"blind.*--engine hf"):
        run_divergence(context)


def text(*tokens):
    return Generation("abc", tokens, "length")


def test_text_nearer_to_noise_is_degenerate_and_below_the_band_only_if_it_repeats():
    band = Band(2.0, 10.0, 1000.0)
    varied, loop = text(*range(60)), text(*([5, 6] * 40))
    assert judge_text(varied, varied, 5.0, band)["degenerate"] == 0
    damaged = judge_text(varied, varied, 30.0, band)
    assert (damaged["above_band"], damaged["salad"], damaged["degenerate"]) == (1, 0, 0)
    salad = judge_text(varied, varied, 110.0, band)
    assert (salad["above_band"], salad["salad"], salad["degenerate"]) == (1, 1, 1)
    bland = judge_text(varied, loop, 1.5, band)
    assert (bland["below_band"], bland["degenerate"]) == (1, 0)
    assert bland["length_ratio"] == 60 / 80
    assert judge_text(loop, loop, 1.1, band)["degenerate"] == 1


class Words:
    """A tokenizer whose tokens are words."""

    def __init__(self, sentence):
        self.words = sentence.split()

    def decode(self, tokens, **_):
        return " ".join(self.words[token] for token in tokens)


def test_language_drift_is_the_share_of_windows_in_another_language():
    polish = "Dawno temu w małym domu nad rzeką mieszkał stary rybak który codziennie wypływał łódką na jezioro"
    english = "The quick brown fox jumps over the lazy dog while everybody else is sleeping in the old house"
    words = (polish.split() * 4)[:50] + (english.split() * 4)[:50]
    tokenizer = Words(" ".join(words))
    assert language_drift(text(*range(50)), tokenizer) == 0
    assert language_drift(text(*range(100)), tokenizer) == 0.5
    assert language_drift(Generation("", (), "eos"), tokenizer) is None


def test_collapse_of_a_model_that_reads_itself(make_context, make_engine):
    found = run_collapse(make_context(limit=LIMIT, baseline=make_engine))
    rows = {row.metric: row.value for row in found.results}
    assert rows["above_band"] == 0 and rows["length_ratio"] == 1
    assert 1 <= rows["band_low"] <= rows["teacher_perplexity"] <= rows["band_high"]
    assert rows["noise"] > rows["band_low"]
    assert 0 < rows["set_distinct_1"] <= rows["set_distinct_2"] <= rows["set_distinct_3"] <= 1
    assert all(math.isfinite(value) for value in rows.values())


def test_there_are_sixty_openings_and_four_ways_to_write(make_context):
    prompts = load_prompts()
    registers = [prompt.register for prompt in prompts]
    assert len(prompts) == len({prompt.prompt for prompt in prompts}) == len({prompt.id for prompt in prompts}) == 60
    assert {registers.count(name) for name in ("facts", "story", "dialogue", "instruction")} == {15}
    assert {setting.task for setting in SETTINGS} == {
        "free_wide-256", "free_wide-1024", "free_wide-t0.7-256", "free_wide-t0.7-1024",
    }  # fmt: skip
    found = run_free_wide(make_context(limit=1))
    assert {row.task for row in found.results} == {setting.task for setting in SETTINGS}
    texts = {s.task: s.response for s in found.samples}
    assert texts["free_wide-256"] != texts["free_wide-t0.7-256"]
