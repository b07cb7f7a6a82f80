"""Sample and Result rows from what lm-eval logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qharness.evaluation.answers import answer_token, median_answer_token
from qharness.evaluation.lm import EngineLM, RequestId
from qharness.results.schema import Result, Sample

if TYPE_CHECKING:
    from lm_eval.api.task import Task

    from qharness.evaluation.base import EvaluationContext
    from qharness.records import TaskSpec

INVALID = "[invalid]"
"""What lm-eval's regex filter returns when it finds nothing."""
INVALID_RATE = "invalid_rate"
"""Metric by which a task itself tells that a response could not be read; it becomes the flag and no row."""


def sample_rows(
    logged: Sequence[Mapping[str, Any]], task: Task, spec: TaskSpec, evaluator: str, lm: EngineLM
) -> list[Sample]:
    """Return one row per document, filter and metric."""
    rows: list[Sample] = []
    for entry in logged:
        shared = {
            "evaluator": evaluator,
            "task": spec.name,
            "kind": spec.kind,
            "doc_id": int(entry["doc_id"]),
            "doc_hash": entry["doc_hash"],
            "prompt_hash": entry["prompt_hash"],
            "cluster": str(entry["doc"][spec.cluster] if spec.cluster else entry["doc_id"]),
            "filter": entry["filter"],
            **(_choice_fields if spec.kind == "mc" else _generation_fields)(entry, task, spec, lm),
        }
        rows += [
            Sample(metric=metric, value=_number(entry[metric], spec.scale), **shared)
            for metric in entry["metrics"]
            if metric != INVALID_RATE
        ]
    return rows


def result_rows(
    scores: Mapping[str, Any],
    samples: Sequence[Sample],
    logged: Sequence[Mapping[str, Any]],
    spec: TaskSpec,
    context: EvaluationContext,
    evaluator: str,
) -> list[Result]:
    """Return one row per metric and filter; baseline and normalisation only for what the leaderboard itself measures.

    Args:
        scores: lm-eval's aggregated scores, keyed `metric,filter`.
        samples: Rows of `sample_rows`.
        logged: lm-eval's samples, for the gold answers.
        spec: The task.
        context: Suite and settings.
        evaluator: Name of the evaluator.
    """
    rows = []
    for metric, filter_name in dict.fromkeys((sample.metric, sample.filter) for sample in samples):
        chosen = [sample for sample in samples if (sample.metric, sample.filter) == (metric, filter_name)]
        value = float(scores[f"{metric},{filter_name}"]) / spec.scale
        stderr = _number(scores.get(f"{metric}_stderr,{filter_name}"), spec.scale)
        is_leaderboard = evaluator == spec.kind and (metric, filter_name) == (spec.metric, spec.filter)
        baseline = spec.baseline if spec.is_official and is_leaderboard else None
        rows.append(
            Result(
                evaluator=evaluator,
                suite=context.suite.name,
                task=spec.name,
                kind=spec.kind,
                metric=metric,
                filter=filter_name,
                num_fewshot=context.num_fewshot,
                n=len(chosen),
                value=value,
                stderr=stderr,
                baseline=baseline,
                normalized=None if baseline is None else context.suite.normalized(value, baseline),
                invalid_rate=sum(s.invalid for s in chosen) / len(chosen) if spec.kind == "gen" else None,
                constant=_constant(logged, filter_name, metric, context),
                answer_token=median_answer_token(s.answer_token for s in chosen) if spec.kind == "gen" else None,
                data=context.data_name,
            )
        )
    return rows


def _constant(
    logged: Sequence[Mapping[str, Any]], filter_name: str, metric: str, context: EvaluationContext
) -> float | None:
    gold = [entry["target"] for entry in logged if entry["filter"] == filter_name]
    try:
        return context.suite.constant_predictor(gold, metric)
    except ValueError:
        return None


def _number(value: Any, scale: float) -> float | None:
    """Return a per-document score, or None where the metric has none (F1 keeps pairs, a missing stderr is text)."""
    return float(value) / scale if isinstance(value, int | float) and not isinstance(value, str) else None


def _choice_fields(entry: Mapping[str, Any], task: Task, spec: TaskSpec, lm: EngineLM) -> dict[str, Any]:
    logprobs = tuple(float(logprob) for logprob, _ in entry["filtered_resps"])
    choices = task.doc_to_choice(entry["doc"])
    counts = [lm.scored[RequestId(spec.name, entry["doc_id"], idx)] for idx in range(len(logprobs))]
    return {
        "gold": _gold(entry["target"], choices),
        "prediction": str(choices[max(range(len(logprobs)), key=logprobs.__getitem__)]),
        "choice_logprobs": logprobs,
        "tokens": sum(counts),
    }


def _generation_fields(entry: Mapping[str, Any], task: Task, spec: TaskSpec, lm: EngineLM) -> dict[str, Any]:
    generation = lm.generations[RequestId(spec.name, entry["doc_id"], 0)]
    found = entry["filtered_resps"][0]
    prediction = str(found[0] if isinstance(found, list) else found)
    is_invalid = bool(entry[INVALID_RATE]) if INVALID_RATE in entry else is_unreadable(prediction, entry["target"])
    return {
        "gold": _gold(entry["target"], task.doc_to_choice(entry["doc"]) if task.config.doc_to_choice else None),
        "prediction": prediction,
        "invalid": is_invalid,
        "response": generation.text,
        "answer_token": answer_token(generation, prediction, lm.tokenizer),
        "tokens": len(generation.tokens),
    }


def is_unreadable(prediction: str, target: Any) -> bool:
    """Whether nothing was found or written, although the question has an answer."""
    golds = target if isinstance(target, list | tuple) else [target]
    return prediction.strip() == INVALID or not (prediction.strip() or any(not str(gold).strip() for gold in golds))


def _gold(target: Any, choices: Sequence[str] | None) -> str:
    if choices is not None and isinstance(target, int):
        return str(choices[target])
    return " | ".join(map(str, target)) if isinstance(target, list | tuple) else str(target)
