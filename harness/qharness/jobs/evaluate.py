"""Evaluation: the steps of a configuration, every task stored as soon as it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from qharness.engines.base import Engine
from qharness.evaluation.base import EvaluationContext, TaskFailure
from qharness.host import Host
from qharness.jobs.configurations import Configuration
from qharness.jobs.engines import baseline_for, engine_for
from qharness.jobs.outcome import Outcome, guarded
from qharness.jobs.plan import RunPlan, is_named, tasks_for
from qharness.jobs.site import Site
from qharness.records import EvaluatorRecord, Suite, TaskSpec
from qharness.results.directory import RunDirectory
from qharness.results.schema import Cell, Result, Sample

StepKey = tuple[str, str, int]
"""Evaluator, task and number of examples."""


@dataclass(frozen=True)
class Step:
    """One evaluator on one task with some examples, or on its own prompts if `task` is None."""

    suite: Suite
    evaluator: EvaluatorRecord
    task: TaskSpec | None
    num_fewshot: int = 0

    @property
    def key(self) -> StepKey:
        """What tells it from the other steps of a plan."""
        return self.evaluator.name, self.task_name, self.num_fewshot

    @property
    def task_name(self) -> str:
        """Name under which the step is stored."""
        return self.task.name if self.task else self.evaluator.name

    @property
    def data_set(self) -> str:
        """Name of the data set, empty for an evaluator with prompts of its own."""
        return self.task.dataset if self.task else ""


def steps(plan: RunPlan, host: Host) -> list[Step]:
    """Return everything that is measured on each configuration, each task once.

    Steps on one data set stand side by side: they ask for the same prompts, which the engine remembers for a while.
    """
    found: dict[StepKey, Step] = {}
    for suite in (host.get(Suite, name) for name in plan.suites):
        for evaluator in (host.get(EvaluatorRecord, name) for name in plan.evaluators):
            chosen = [task for task in tasks_for(evaluator, suite) if not plan.tasks or is_named(task, plan.tasks)]
            tasks = chosen if evaluator.kinds else (None,)
            for step in (Step(suite, evaluator, task, n) for task in tasks for n in shots(plan, suite, task)):
                found.setdefault(step.key, step)
    sets = list(dict.fromkeys(step.data_set for step in found.values()))
    return sorted(found.values(), key=lambda step: sets.index(step.data_set))


def shots(plan: RunPlan, suite: Suite, task: TaskSpec | None) -> tuple[int, ...]:
    """Return the numbers of shots with which a task is measured in this run; 0 where there is no task."""
    if task is None:
        return (0,)
    return (suite.num_fewshot,) if plan.num_fewshot is None else plan.num_fewshot


@dataclass(frozen=True)
class EvaluationJob:
    """Some steps of one configuration, named so that any process can do them.

    Attributes:
        site: What the run shares.
        configuration: What is measured.
        steps: Key of each step.
    """

    site: Site
    configuration: Configuration
    steps: tuple[StepKey, ...]


@dataclass
class Measured:
    """What came of an evaluation job.

    Attributes:
        seconds: Time of each step, by its key.
        failures: Tasks that could not be measured; they are not stored yet.
        kernels: What served the modules of the model, see `qharness.serving.model.summary`.
    """

    seconds: dict[StepKey, float] = field(default_factory=dict)
    failures: list[TaskFailure] = field(default_factory=list)
    kernels: Sequence[Mapping[str, Any]] = ()


def evaluation_jobs(site: Site, configuration: Configuration) -> list[EvaluationJob]:
    """Return the steps of a configuration that are not stored yet, a job for each data set."""
    cell = configuration.cell(site.plan)
    stored = site.run.finished_tasks(cell)
    finished = {(key.evaluator, key.task, key.num_fewshot) for key in stored}
    if site.plan.num_fewshot is None or len(site.plan.num_fewshot) == 1:
        # A task may fix its own number of examples, under which it is then stored.
        finished |= {step.key for step in steps(site.plan, site.host) for key in stored if step.key[:2] == key[:2]}
    return [
        EvaluationJob(site, configuration, left)
        for _, group in groupby(steps(site.plan, site.host), key=lambda step: step.data_set)
        if (left := tuple(step.key for step in group if step.key not in finished))
    ]


def evaluate(job: EvaluationJob) -> Outcome[Measured]:
    """Do an evaluation job; what is measured is stored, failures are returned."""
    return guarded(partial(_evaluate, job))


def _evaluate(job: EvaluationJob) -> Measured:
    """Measure the steps.

    Raises:
        QharnessError: The model cannot be loaded (a missing transform, a truncated file).
    """
    site, plan = job.site, job.site.plan
    engine = engine_for(site, job.configuration)
    cell = job.configuration.cell(plan)
    measured = Measured(kernels=getattr(engine, "kernels", ()))
    for step in steps(plan, site.host):
        if step.key not in job.steps:
            continue
        started = time.monotonic()
        measured.failures += _measure(step, _context(step, job, engine, cell))
        measured.seconds[step.key] = time.monotonic() - started
    return measured


def _context(step: Step, job: EvaluationJob, engine: Engine, cell: Cell) -> EvaluationContext:
    site, plan = job.site, job.site.plan
    return EvaluationContext(
        engine=engine,
        suite=step.suite,
        tasks=(step.task,) if step.task else (),
        data=plan.data_folder(site.host),
        data_name=plan.data,
        num_fewshot=step.num_fewshot,
        limit=plan.limit if job.configuration.limit is None else job.configuration.limit,
        seed=plan.seed,
        chat_template=plan.chat_template,
        system=plan.system,
        perplexity=plan.perplexity,
        host=site.host,
        baseline=partial(baseline_for, site),
        progress=site.reporter.update,
        task_done=partial(_store, site.run, cell, step.evaluator.name),
    )


def _measure(step: Step, context: EvaluationContext) -> Sequence[TaskFailure]:
    try:
        return step.evaluator.run(context).failures
    except Exception as error:
        reason = str(error) or type(error).__name__
        return [TaskFailure(step.evaluator.name, step.task_name, reason)]


def _store(
    run: RunDirectory, cell: Cell, evaluator: str, task: str, samples: list[Sample], results: list[Result]
) -> None:
    run.write_task(cell, evaluator, task, samples, results)
