"""Whether two runs of a task agree, document by document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SAME_LOGPROB = 1e-4
"""Largest difference of a choice's log-likelihood in float32."""
SAME_SCORE = 0.003
"""Largest difference of a score in types of 16 bits, as a fraction."""
SAME_ANSWERS = 0.995
"""Least share of documents with the same choice or prediction in types of 16 bits."""


@dataclass(frozen=True)
class Agreement:
    """What two runs of a task have in common.

    Attributes:
        documents: Documents compared.
        prompts: Share of documents with the same prompt.
        logprob: Largest difference of a log-likelihood; None for generation.
        answers: Share of documents with the same choice, or the same prediction.
        responses: Share of documents with the same raw response; None for multiple choice.
        score: Largest difference between the runs in any of the task's metrics.
        is_equal: Whether they agree as closely as the type allows.
    """

    documents: int
    prompts: float
    logprob: float | None
    answers: float
    responses: float | None
    score: float
    is_equal: bool


def compare(ours: Mapping[str, Any], stock: Mapping[str, Any], task: str, is_exact: bool) -> Agreement:
    """Compare what lm-eval's `evaluate` returned for a task.

    Args:
        ours: `results` and `samples` of one run.
        stock: Those of the other.
        task: Name of the task.
        is_exact: Whether the model computed in float32, so that log-likelihoods must be within `SAME_LOGPROB` and
            responses and scores equal; otherwise scores within `SAME_SCORE` and `SAME_ANSWERS` of the answers do.
    """
    others = {_key(sample): sample for sample in stock["samples"][task]}
    pairs = [(sample, others[_key(sample)]) for sample in ours["samples"][task]]
    prompts = _share([a["prompt_hash"] == b["prompt_hash"] for a, b in pairs])
    score = _score_difference(ours["results"][task], stock["results"][task])
    is_choice = isinstance(pairs[0][0]["resps"][0][0], tuple | list)
    logprob = responses = None
    if is_choice:
        scored = [(_logprobs(a), _logprobs(b)) for a, b in pairs]
        logprob = max(abs(x - y) for a, b in scored for x, y in zip(a, b, strict=True))
        answers = _share([a.index(max(a)) == b.index(max(b)) for a, b in scored])
        is_same = logprob <= SAME_LOGPROB
    else:
        responses = _share([a["resps"] == b["resps"] for a, b in pairs])
        answers = _share([a["filtered_resps"] == b["filtered_resps"] for a, b in pairs])
        is_same = responses == 1.0
    close = score <= SAME_SCORE and answers >= SAME_ANSWERS
    is_equal = prompts == 1.0 and len(pairs) == len(others) and ((is_same and score < 1e-9) if is_exact else close)
    return Agreement(len(pairs), prompts, logprob, answers, responses, score, is_equal)


def _key(sample: Mapping[str, Any]) -> tuple[int, str]:
    return int(sample["doc_id"]), str(sample["filter"])


def _logprobs(sample: Mapping[str, Any]) -> list[float]:
    return [float(answers[0][0]) for answers in sample["resps"]]


def _share(same: Sequence[bool]) -> float:
    return sum(same) / len(same)


def _score_difference(ours: Mapping[str, Any], stock: Mapping[str, Any]) -> float:
    names = [name for name, value in ours.items() if isinstance(value, float) and "stderr" not in name]
    return max((abs(float(ours[name]) - float(stock[name])) for name in names), default=0.0)
