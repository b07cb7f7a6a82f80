"""Runs tasks through lm-eval's own machinery, so that prompts, draws, filters and metrics are the stock ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from qharness.errors import MissingData, QharnessError
from qharness.evaluation.base import Evaluation, EvaluationContext, TaskFailure
from qharness.evaluation.lm import EngineLM, LikelihoodPath
from qharness.evaluation.rows import result_rows, sample_rows
from qharness.records import TaskSpec

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from lm_eval.api.task import Task

log = logging.getLogger(__name__)

FEWSHOT_SEED = 1234
"""lm-eval's default, on which the leaderboard's few-shot draws rest."""
BOOTSTRAP = 100
"""Draws of lm-eval's bootstrapped standard errors; means have a closed form."""


def run_tasks(context: EvaluationContext, evaluator: str, path: LikelihoodPath = "prefill") -> Evaluation:
    """Measure the context's tasks one by one.

    A task that cannot be had becomes a failure with its reason, and the others go on.

    Args:
        context: Model, suite, tasks and settings.
        evaluator: Name of the evaluator for the rows.
        path: How log-likelihoods are computed.
    """
    found = Evaluation()
    for spec in context.tasks:
        try:
            part = run_task(context, spec, evaluator, path)
        except Exception as error:
            is_skipped = spec.needs_own_data and isinstance(error, MissingData)
            found.failures.append(TaskFailure(evaluator, spec.name, reason_of(error), is_skipped))
            continue
        context.task_done(spec.name, part.samples, part.results)
        found.samples += part.samples
        found.results += part.results
    return found


def reason_of(error: Exception) -> str:
    """Return one sentence for a failure; what qharness did not foresee is logged with its traceback."""
    if isinstance(error, QharnessError):
        return str(error)
    log.debug("Unforeseen failure", exc_info=error)
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def run_task(context: EvaluationContext, spec: TaskSpec, evaluator: str, path: LikelihoodPath) -> Evaluation:
    """Measure one task.

    Raises:
        QharnessError: Its data cannot be had, or the engine cannot do what it asks for.
    """
    task = context.suite.load_tasks([spec.name], context.data)[spec.name]
    prepare(task, context.num_fewshot)
    lm = EngineLM(context.engine, path, partial(_tell, context, f"{evaluator} {spec.short}"), context.seed)
    with tuned():
        measured = measure(lm, task, context.limit, system=context.system, chat_template=context.chat_template)
    logged = sorted(measured["samples"][spec.name], key=lambda sample: sample["doc_id"])
    samples = sample_rows(logged, task, spec, evaluator, lm)
    results = result_rows(measured["results"][spec.name], samples, logged, spec, context, evaluator)
    shots = int(task.get_config("num_fewshot"))
    return Evaluation(samples, [replace(result, num_fewshot=shots) for result in results])


def measure(
    lm: LM, task: Task, limit: int | None, *, system: str | None = None, chat_template: bool = False
) -> dict[str, Any]:
    """Return what lm-eval measures of a prepared task: its `results` and its `samples`, by the task's name."""
    from lm_eval.evaluator import evaluate

    measured: dict[str, Any] = evaluate(
        lm,
        {"tasks": {task.config.task: task}, "groups": {}},
        limit=limit,
        bootstrap_iters=BOOTSTRAP,
        log_samples=True,
        system_instruction=system,
        apply_chat_template=chat_template,
        fewshot_as_multiturn=True,
    )
    return measured


def prepare(task: Task, num_fewshot: int) -> None:
    """Set shots and seed as lm-eval's `simple_evaluate` does; a task that fixes zero shots keeps them."""
    if task.get_config("num_fewshot") != 0:
        task.set_config(key="num_fewshot", value=num_fewshot)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)


def _tell(context: EvaluationContext, label: str, done: int, total: int) -> None:
    context.progress(done, total, label)


@contextmanager
def tuned() -> Iterator[None]:
    """Silence lm-eval's own progress bars, which would break ours, and let it compile each template once.

    lm-eval compiles a document's templates anew for every field of every example, half of the time of a small model.
    """
    import lm_eval.api.task as module
    from lm_eval.utils import env

    bars, compile_template = module.tqdm, env.from_string
    module.tqdm = partial(bars, disable=True)
    env.from_string = cache(compile_template)
    try:
        yield
    finally:
        module.tqdm = bars
        env.from_string = compile_template
