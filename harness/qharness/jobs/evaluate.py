"""Evaluation: the steps of a configuration, every task stored as soon as it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from qharness.engines.base import Engine
from qharness.engines.dividing import Divided, Division, Share, dividing
from qharness.engines.planned import PlannedEngine
from qharness.evaluation.base import EvaluationContext, StepKey, TaskFailure
from qharness.host import Host
from qharness.jobs.configurations import Configuration
from qharness.jobs.engines import baseline_for, engine_for
from qharness.jobs.outcome import Outcome, guarded
from qharness.jobs.plan import RunPlan, is_named, tasks_for
from qharness.jobs.site import Site
from qharness.jobs.spent import Spent, Stopwatch
from qharness.records import EvaluatorRecord, Suite, TaskSpec
from qharness.results.directory import RunDirectory
from qharness.results.files import folder_name
from qharness.results.schema import Cell, Result, Sample

REQUESTS = "requests"
"""Folder of a run for lists of requests that workers are answering."""


@dataclass(frozen=True)
class Step:
    """One evaluator on one task with some examples, or on its own prompts, or part of them, if `task` is None."""

    suite: Suite
    evaluator: EvaluatorRecord
    task: TaskSpec | None
    num_fewshot: int = 0
    part: str = ""

    @property
    def key(self) -> StepKey:
        """What tells it from the other steps of a plan."""
        return self.evaluator.name, self.task_name, self.num_fewshot

    @property
    def task_name(self) -> str:
        """Name under which the step is stored."""
        return self.task.name if self.task else self.part or self.evaluator.name

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
            for step in _steps_of(suite, evaluator, plan):
                found.setdefault(step.key, step)
    sets = list(dict.fromkeys(step.data_set for step in found.values()))
    return sorted(found.values(), key=lambda step: sets.index(step.data_set))


def _steps_of(suite: Suite, evaluator: EvaluatorRecord, plan: RunPlan) -> list[Step]:
    if evaluator.kinds:
        tasks = [task for task in tasks_for(evaluator, suite) if not plan.tasks or is_named(task, plan.tasks)]
        return [Step(suite, evaluator, task, count) for task in tasks for count in shots(plan, suite)]
    parts = evaluator.parts(plan.perplexity) if evaluator.parts else ("",)
    return [Step(suite, evaluator, None, part=part) for part in parts]


def shots(plan: RunPlan, suite: Suite) -> tuple[int, ...]:
    """Return the numbers of shots with which the tasks of a suite are measured in this run."""
    return (suite.num_fewshot,) if plan.num_fewshot is None else plan.num_fewshot


@dataclass(frozen=True)
class EvaluationJob:
    """Some steps of one configuration, named so that any process can do them.

    Attributes:
        site: What the run shares.
        configuration: What is measured.
        steps: Key of each step.
        workers: Workers that share a large step; it is not divided for one.
        answered: Digests of the plans that were divided before; their answers are in the request cache.
        spent: What its step has taken so far, in other jobs.
    """

    site: Site
    configuration: Configuration
    steps: tuple[StepKey, ...]
    workers: int = 1
    answered: tuple[str, ...] = ()
    spent: Spent = field(default_factory=Spent)


@dataclass
class Measured:
    """What came of an evaluation job.

    Attributes:
        spent: What each step took, by its key.
        failures: Tasks that could not be measured; they are not stored yet.
        divisions: What was not answered but written down for others to answer, by step.
        kernels: What served the modules of the model, see `qharness.serving.model.summary`.
    """

    spent: dict[StepKey, Spent] = field(default_factory=dict)
    failures: list[TaskFailure] = field(default_factory=list)
    divisions: dict[StepKey, Division] = field(default_factory=dict)
    kernels: Sequence[Mapping[str, Any]] = ()


def evaluation_jobs(site: Site, configuration: Configuration, workers: int) -> list[EvaluationJob]:
    """Return the steps of a configuration that are not stored yet, a job for each data set."""
    cell = configuration.cell(site.plan)
    stored = site.run.finished_tasks(cell)
    finished = {(key.evaluator, key.task, key.num_fewshot) for key in stored}
    if site.plan.num_fewshot is None or len(site.plan.num_fewshot) == 1:
        # A task may fix its own number of examples, under which it is then stored.
        finished |= {step.key for step in steps(site.plan, site.host) for key in stored if step.key[:2] == key[:2]}
    return [
        EvaluationJob(site, configuration, left, workers)
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
    measured = Measured(kernels=getattr(engine, "kernels", ()))
    for step in steps(plan, site.host):
        if step.key not in job.steps:
            continue
        watch = Stopwatch(engine)
        try:
            measured.failures += _measure_divided(step, job, engine)
        except Divided as divided:
            measured.divisions[step.key] = divided.division
        measured.spent[step.key] = watch.read()
    return measured


def _measure_divided(step: Step, job: EvaluationJob, engine: Engine) -> Sequence[TaskFailure]:
    """Measure a step.

    Raises:
        Divided: It is more than one job should do.
    """
    site = job.site
    if job.workers < 2 or not isinstance(engine, PlannedEngine):
        return _measure(step, context_for(step, site, job.configuration, engine))
    share = Share(job.workers, site.plan.chunk_tokens, requests_folder(site, job.configuration))
    divided = dividing(engine, share, job.answered)
    failures = _measure(step, context_for(step, site, job.configuration, divided))
    if divided.unseen and not failures:
        reason = "its prompts changed when they were built again; run it with --executor inline"
        return [TaskFailure(step.evaluator.name, step.task_name, reason)]
    return failures


def requests_folder(site: Site, configuration: Configuration) -> Path:
    """Return where lists of requests of a configuration are kept while workers answer them."""
    return site.run.path / REQUESTS / folder_name(site.run.config_id(configuration.cell(site.plan)))


def context_for(step: Step, site: Site, configuration: Configuration, engine: Engine) -> EvaluationContext:
    """Return an evaluator's view of a step of a configuration."""
    plan = site.plan
    return EvaluationContext(
        engine=engine,
        suite=step.suite,
        tasks=(step.task,) if step.task else (),
        data=plan.data_folder(site.host),
        data_name=plan.data,
        num_fewshot=step.num_fewshot,
        limit=plan.limit if configuration.limit is None else configuration.limit,
        seed=plan.seed,
        chat_template=plan.chat_template,
        system=plan.system,
        perplexity=plan.perplexity,
        part=step.part,
        host=site.host,
        baseline=partial(baseline_for, site),
        progress=site.reporter.update,
        task_done=partial(_store, site.run, configuration.cell(plan), step.evaluator.name),
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
