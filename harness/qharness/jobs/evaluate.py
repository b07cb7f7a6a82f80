"""Evaluation of one configuration: engine up, every evaluator, every task stored as soon as it is done."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qharness.engines.base import Engine, EngineRequest
from qharness.evaluation.base import EvaluationContext, TaskFailure
from qharness.host import Host
from qharness.jobs.configurations import Configuration
from qharness.jobs.plan import RunPlan, tasks_for
from qharness.jobs.progress import Reporter
from qharness.records import EngineRecord, EvaluatorRecord, Suite, TaskSpec
from qharness.results.directory import RunDirectory
from qharness.results.schema import Cell, Result, Sample


@dataclass(frozen=True)
class Step:
    """One evaluator on one task, or on its own prompts if `task` is None."""

    suite: Suite
    evaluator: EvaluatorRecord
    task: TaskSpec | None

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
    found: dict[tuple[str, str], Step] = {}
    for suite in (host.get(Suite, name) for name in plan.suites):
        for evaluator in (host.get(EvaluatorRecord, name) for name in plan.evaluators):
            tasks = tasks_for(evaluator, suite) if evaluator.kinds else (None,)
            for task in tasks:
                step = Step(suite, evaluator, task)
                found.setdefault((evaluator.name, step.task_name), step)
    sets = list(dict.fromkeys(step.data_set for step in found.values()))
    return sorted(found.values(), key=lambda step: sets.index(step.data_set))


def shots(plan: RunPlan, suite: Suite) -> int:
    """Return the number of shots of a suite in this run."""
    return suite.num_fewshot if plan.num_fewshot is None else plan.num_fewshot


def evaluate_configuration(
    configuration: Configuration, *, plan: RunPlan, host: Host, run: RunDirectory, cache: Path, reporter: Reporter
) -> list[TaskFailure]:
    """Measure everything that is not stored yet; returns the failures, which are stored as well.

    Raises:
        QharnessError: The model cannot be loaded (a missing transform, a truncated file).
    """
    cell = configuration.cell(plan)
    finished = {(key.evaluator, key.task) for key in run.finished_tasks(cell)}
    label = run.config_id(cell)
    todo = []
    for step in steps(plan, host):
        if (step.evaluator.name, step.task_name) in finished:
            reporter.step(f"{label}: {step.evaluator.name} {step.task_name}, already done", 0.0)
        else:
            todo.append(step)
    if not todo:
        return []
    request = EngineRequest(
        reference=configuration.built.reference,
        host=host,
        dtype=plan.dtype,
        device=plan.device,
        ablate=configuration.ablation,
        kv_bits=configuration.kv_bits,
        kv_prefill=configuration.kv_prefill or plan.kv_prefill,
        kernels=plan.kernels,
        cache=cache,
    )
    engine = host.get(EngineRecord, plan.engine).create(request)
    baseline = _Baseline(plan, host, cache)
    failures: list[TaskFailure] = []
    try:
        for step in todo:
            started = time.monotonic()
            context = EvaluationContext(
                engine=engine,
                suite=step.suite,
                tasks=(step.task,) if step.task else (),
                data=plan.data_folder(host),
                data_name=plan.data,
                num_fewshot=shots(plan, step.suite),
                limit=plan.limit,
                seed=plan.seed,
                chat_template=plan.chat_template,
                system=plan.system,
                baseline=baseline,
                progress=reporter.update,
                task_done=partial(_store, run, cell, step.evaluator.name),
            )
            found = _measure(step, context)
            for failure in found:
                run.record_failure(cell, failure)
                reporter.say(f"{label}: {failure.task} failed: {failure.reason}")
            failures += found
            reporter.step(f"{label}: {step.evaluator.name} {step.task_name}", time.monotonic() - started)
    finally:
        engine.close()
        baseline.close()
    return failures


class _Baseline:
    """The unquantized model of a plan with an exact cache, loaded when first called."""

    def __init__(self, plan: RunPlan, host: Host, cache: Path) -> None:
        self._plan, self._host, self._cache = plan, host, cache
        self._engine: Engine | None = None

    def __call__(self) -> Engine:
        if self._engine is None:
            plan = self._plan
            request = EngineRequest(
                reference=plan.model,
                host=self._host,
                dtype=plan.dtype,
                device=plan.device,
                kernels=plan.kernels,
                cache=self._cache,
            )
            self._engine = self._host.get(EngineRecord, plan.engine).create(request)
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


def _measure(step: Step, context: EvaluationContext) -> list[TaskFailure]:
    try:
        return step.evaluator.run(context).failures
    except Exception as error:
        reason = str(error) or type(error).__name__
        return [TaskFailure(step.evaluator.name, step.task_name, reason)]


def _store(
    run: RunDirectory, cell: Cell, evaluator: str, task: str, samples: list[Sample], results: list[Result]
) -> None:
    run.write_task(cell, evaluator, task, samples, results)
