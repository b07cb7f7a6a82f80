"""The built-in evaluators on lm-eval tasks: multiple choice in prefill, generation, multiple choice by decoding."""

from __future__ import annotations

from qharness.evaluation.base import Evaluation, EvaluationContext
from qharness.evaluation.lm_eval_tasks import run_tasks


def run_mc(context: EvaluationContext) -> Evaluation:
    """Score choices by one forward over prompt and choice, as leaderboards do."""
    return run_tasks(context, "mc")


def run_gen(context: EvaluationContext) -> Evaluation:
    """Generate answers through the key-value cache."""
    return run_tasks(context, "gen")


def run_decode_ll(context: EvaluationContext) -> Evaluation:
    """Score choices with the end of the prompt and the choice fed one by one through the key-value cache.

    Its rows bear the metrics' own names under the evaluator `decode_ll`; compared with `mc` document by document they
    tell a fault of the cache path from damaged weights.
    """
    return run_tasks(context, "decode_ll", "decode")
