"""Parity with stock lm-eval: SmolLM2 on the real 8TAGS test split, 5-shot, both variants.

QHARNESS_PARITY_DOCUMENTS sets the number of documents (12 by default; stock is slow on a CPU).
"""

from __future__ import annotations

import os

import pytest
from lm_eval import simple_evaluate

from qharness.evaluation.base import EvaluationContext
from qharness.evaluation.lm_eval_tasks import run_tasks
from qharness_tasks_pl.loading import task_manager
from qharness_tasks_pl.suites import SUITES

pytestmark = [pytest.mark.interop, pytest.mark.slow]
DOCUMENTS = int(os.environ.get("QHARNESS_PARITY_DOCUMENTS", "12"))
SAME = 1e-4
SUITE = next(suite for suite in SUITES if suite.name == "polish22")
SPECS = {spec.name: spec for spec in SUITE.tasks}


def stock_run(stock, task, data):
    return simple_evaluate(
        model=stock, tasks=[task], num_fewshot=5, limit=DOCUMENTS, task_manager=task_manager(data), bootstrap_iters=100
    )


def our_run(engine, task, data, evaluator):
    context = EvaluationContext(engine, SUITE, [SPECS[task]], str(data), "real data", 5, DOCUMENTS)
    found = run_tasks(context, evaluator)
    assert not found.failures
    return found


def compare_scores(found, reference) -> None:
    for result in found.results:
        assert result.value == pytest.approx(reference[f"{result.metric},{result.filter}"])
        assert result.stderr == pytest.approx(reference[f"{result.metric}_stderr,{result.filter}"])


def test_multiple_choice(stock, engine, real_data) -> None:
    task = "polish_8tags_multiple_choice"
    reference = stock_run(stock, task, real_data)
    found = our_run(engine, task, real_data, "mc")
    ours = {sample.doc_id: sample for sample in found.samples if sample.metric == "acc"}
    assert len(ours) == DOCUMENTS
    for entry in reference["samples"][task]:
        sample = ours[entry["doc_id"]]
        assert sample.prompt_hash == entry["prompt_hash"]
        want = [logprob for ((logprob, _),) in entry["resps"]]
        assert sample.choice_logprobs == pytest.approx(want, abs=SAME)
    compare_scores(found, reference["results"][task])


def test_generation(stock, engine, real_data) -> None:
    task = "polish_8tags_regex"
    reference = stock_run(stock, task, real_data)
    found = our_run(engine, task, real_data, "gen")
    ours = {sample.doc_id: sample for sample in found.samples}
    assert len(ours) == DOCUMENTS
    for entry in reference["samples"][task]:
        sample = ours[entry["doc_id"]]
        assert sample.prompt_hash == entry["prompt_hash"]
        assert sample.response == entry["resps"][0][0]
        assert sample.prediction == entry["filtered_resps"][0]
    compare_scores(found, reference["results"][task])
