"""Our evaluators against lm-eval's simple_evaluate with its own hf model, on a random model and made-up documents."""

from __future__ import annotations

from statistics import median

import pytest
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM

from qharness.evaluation.lm_eval_tasks import run_tasks
from qharness_tasks_pl.loading import task_manager
from qharness_tasks_pl.suites import EQ_BENCH

MC = ("polish_8tags_multiple_choice", "polish_dyk_multiple_choice")
GEN = ("polish_8tags_regex", "polish_dyk_regex", "paired_8tags_text")


@pytest.fixture(scope="session")
def reference(model, make_untouched, tokenizer, data):
    return simple_evaluate(
        model=HFLM(pretrained=make_untouched(model), tokenizer=tokenizer),
        tasks=[*MC, *GEN],
        num_fewshot=2,
        task_manager=task_manager(data),
        bootstrap_iters=100,
    )


def scores(results):
    return {(r.metric, r.filter): (r.value, r.stderr) for r in results}


def stock_scores(found):
    keys = [
        key.split(",") for key in found if "," in key and "_stderr" not in key and not key.startswith("invalid_rate")
    ]
    stderr = {tuple(k): found.get(f"{k[0]}_stderr,{k[1]}") for k in keys}
    return {
        (m, f): (pytest.approx(found[f"{m},{f}"]), None if stderr[m, f] == "N/A" else pytest.approx(stderr[m, f]))
        for m, f in keys
    }


@pytest.mark.parametrize("name", MC)
def test_mc_equals_stock(make_context, reference, name) -> None:
    found = run_tasks(make_context(name), "mc")
    assert scores(found.results) == stock_scores(reference["results"][name])
    by_doc = {sample.doc_id: sample for sample in found.samples if sample.metric == "acc"}
    for entry in reference["samples"][name]:
        sample = by_doc[entry["doc_id"]]
        assert (sample.prompt_hash, sample.doc_hash) == (entry["prompt_hash"], entry["doc_hash"])
        want = [logprob for ((logprob, _),) in entry["resps"]]
        assert sample.choice_logprobs == pytest.approx(want, abs=1e-4)
        assert sample.value == entry["acc"]


@pytest.mark.parametrize("name", GEN)
def test_gen_equals_stock(make_context, reference, name) -> None:
    found = run_tasks(make_context(name), "gen")
    assert scores(found.results) == stock_scores(reference["results"][name])
    by_doc = {sample.doc_id: sample for sample in found.samples if sample.metric == "exact_match"}
    for entry in reference["samples"][name]:
        sample = by_doc[entry["doc_id"]]
        assert sample.prompt_hash == entry["prompt_hash"]
        assert sample.response == entry["resps"][0][0]
        assert sample.value == entry["exact_match"]
        assert sample.invalid == bool(entry["invalid_rate"])
    places = [sample.answer_token for sample in by_doc.values() if sample.answer_token >= 0]
    for result in (result for result in found.results if result.metric == "exact_match"):
        assert result.invalid_rate == sum(sample.invalid for sample in by_doc.values()) / len(by_doc)
        assert result.answer_token == (float(median(places)) if places else None)


def test_decode_path_equals_prefill(make_context) -> None:
    prefill = run_tasks(make_context(MC[0]), "mc").samples
    decode = run_tasks(make_context(MC[0]), "decode_ll", "decode").samples
    assert {s.evaluator for s in decode} == {"decode_ll"}
    for a, b in zip(prefill, decode, strict=True):
        assert (a.doc_id, a.metric, a.prediction, a.value) == (b.doc_id, b.metric, b.prediction, b.value)
        assert a.choice_logprobs == pytest.approx(b.choice_logprobs, abs=1e-4)


def test_official_scores_only_on_the_leaderboards_metric(make_context) -> None:
    rows = {r.metric: r for r in run_tasks(make_context(MC[1]), "mc").results}
    assert set(rows) == {"acc", "acc_norm", "f1"}
    assert rows["f1"].baseline == 0.289 and rows["acc"].baseline is None and rows["acc_norm"].normalized is None
    assert rows["f1"].normalized == pytest.approx((rows["f1"].value - 0.289) / 0.711 * 100)
    assert rows["f1"].constant == pytest.approx(2 * 3 / 7 / (1 + 3 / 7))
    assert rows["acc"].constant == pytest.approx(4 / 7)
    decode = run_tasks(make_context(MC[1]), "decode_ll", "decode").results
    assert all(r.baseline is None and r.normalized is None for r in decode)


def test_f1_has_no_value_per_document(make_context) -> None:
    samples = run_tasks(make_context(MC[1]), "mc").samples
    assert {s.metric for s in samples if s.value is None} == {"f1"}


def test_missing_data_fails_that_task_alone(make_context) -> None:
    done = []
    context = make_context("polish_ppc_regex", GEN[0], task_done=lambda task, samples, results: done.append(task))
    found = run_tasks(context, "gen")
    (failure,) = found.failures
    assert not failure.is_skipped
    assert failure.task == "polish_ppc_regex" and "ppc" in failure.reason and "\n" not in failure.reason
    assert done == [GEN[0]]


def test_limit_keeps_the_first_documents_and_their_prompts(make_context) -> None:
    whole = run_tasks(make_context(GEN[0]), "gen").samples
    few = run_tasks(make_context(GEN[0], limit=3), "gen").samples
    assert [(s.doc_id, s.prompt_hash) for s in few] == [(s.doc_id, s.prompt_hash) for s in whole if s.doc_id < 3]


def test_second_evaluation_comes_from_the_cache(make_context, make_engine, tmp_path) -> None:
    first = run_tasks(make_context(GEN[0], engine=make_engine(tmp_path)), "gen")
    engine = make_engine(tmp_path)
    engine._forward.hidden = None
    again = run_tasks(make_context(GEN[0], engine=engine), "gen")
    assert again.samples == first.samples and again.results == first.results


def test_progress_counts_requests(make_context) -> None:
    seen = []
    run_tasks(make_context(MC[0], progress=lambda *event: seen.append(event)), "mc")
    assert seen[-1] == (56, 56, "mc 8tags_mc")


def test_a_task_whose_data_users_must_bring_is_skipped(make_context) -> None:
    context = make_context(GEN[0])
    context.tasks = [EQ_BENCH]
    (failure,) = run_tasks(context, "gen").failures
    assert failure.is_skipped and "EQ-Bench-PL" in failure.reason
