"""Conducts the jobs of a run and keeps its books; every failure stays inside its cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from qharness.evaluation.base import TaskFailure
from qharness.executors.base import Executor
from qharness.jobs.artifacts import Facts, build_artifact, describe_baseline
from qharness.jobs.configurations import Built, Configuration, configurations
from qharness.jobs.evaluate import EvaluationJob, Measured, evaluate, evaluation_jobs, steps
from qharness.jobs.outcome import Outcome, guarded
from qharness.jobs.plan import BASELINE
from qharness.jobs.site import Site


@dataclass(frozen=True)
class BuildJob:
    """The artifact of one quantizer, or the description of the baseline."""

    site: Site
    plugin: str


Job = BuildJob | EvaluationJob


class Conductor:
    """Drives the jobs of a run and keeps its books: only this process writes failures and artifacts.

    Args:
        site: What the run shares.
        executor: Where jobs run.
    """

    def __init__(self, site: Site, executor: Executor) -> None:
        self.site, self.executor = site, executor
        self.built: dict[str, Built] = {}
        self.failed = False

    def through_all(self) -> bool:
        """Build and evaluate everything; returns whether any cell failed.

        The baseline is evaluated while the artifacts are built, if the executor has workers to spare.
        """
        plan = self.site.plan
        self._do([BuildJob(self.site, BASELINE)])
        if BASELINE not in self.built:
            return True
        builds = [BuildJob(self.site, plugin) for plugin in plan.plugins]
        self._do([*builds, *self._evaluations(self._chosen())])
        rest = self._chosen()[1:]
        self._explain_ablations(rest)
        self.site.reporter.total = 1 + len(plan.plugins) + (1 + len(rest)) * len(steps(plan, self.site.host))
        self._do(self._evaluations(rest))
        return self.failed

    def _chosen(self) -> list[Configuration]:
        return configurations(self.site.plan, self.built)

    def _evaluations(self, chosen: Iterable[Configuration]) -> list[EvaluationJob]:
        jobs = []
        for configuration in chosen:
            left = evaluation_jobs(self.site, configuration)
            jobs += left
            todo = {key for job in left for key in job.steps}
            for step in steps(self.site.plan, self.site.host):
                if (step.evaluator.name, step.task_name) not in todo:
                    label = f"{self._label(configuration)}: {step.evaluator.name} {step.task_name}"
                    self.site.reporter.step(f"{label}, already done", 0.0)
        return jobs

    def _explain_ablations(self, chosen: Iterable[Configuration]) -> None:
        present = {name for configuration in chosen for name in configuration.ablation}
        for name in self.site.plan.ablate:
            if name not in present:
                self.site.reporter.say(
                    f"No artifact of this run has the transform '{name}': --ablate {name} adds no row."
                )

    def _do(self, jobs: list[Any]) -> None:
        spent: dict[Configuration, float] = {}
        stopped: set[Configuration] = set()
        for job, outcome in zip(jobs, self.executor.map(work, jobs), strict=True):
            if isinstance(job, BuildJob):
                self._settle_build(job, outcome)
            else:
                self._settle_evaluation(job, outcome)
                spent[job.configuration] = spent.get(job.configuration, 0.0) + outcome.seconds
                if outcome.value is None:
                    stopped.add(job.configuration)
        for configuration, seconds in spent.items():
            if configuration not in stopped:
                self._notify(configuration, "evaluate", Outcome(None, seconds))

    def _settle_build(self, job: BuildJob, outcome: Outcome[tuple[Built, Facts]]) -> None:
        configuration = Configuration(Built(job.plugin, self.site.plan.model, ""))
        if outcome.value is None:
            self._record(configuration, "quantize", outcome)
        else:
            self.built[job.plugin], facts = outcome.value
            self.site.run.write_artifact(facts)
            self._notify(configuration, "quantize", outcome)
        self.site.reporter.step(f"{job.plugin}: ready", outcome.seconds)

    def _settle_evaluation(self, job: EvaluationJob, outcome: Outcome[Measured]) -> None:
        if outcome.value is None:
            self._record(job.configuration, "evaluate", outcome)
            return
        label = self._label(job.configuration)
        for failure in outcome.value.failures:
            self.failed = True
            self.site.run.record_failure(job.configuration.cell(self.site.plan), failure)
            self.site.reporter.say(f"{label}: {failure.task} failed: {failure.reason}")
        for (evaluator, task), seconds in outcome.value.seconds.items():
            self.site.reporter.step(f"{label}: {evaluator} {task}", seconds)

    def _record(self, configuration: Configuration, stage: str, outcome: Outcome[Any]) -> None:
        """Store a failure of a whole configuration; told once, however many of its jobs it stopped."""
        self.failed = True
        cell, failure = configuration.cell(self.site.plan), TaskFailure(stage, "", outcome.reason)
        known = [(row["config"], row["evaluator"], row["task"]) for row in self.site.run.failures()]
        if (self._label(configuration), stage, "") in known:
            return
        self.site.run.record_failure(cell, failure, stage=stage, **outcome.details)
        self.site.reporter.say(f"{self._label(configuration)}: {stage} failed: {outcome.reason}")
        self._notify(configuration, stage, outcome)

    def _notify(self, configuration: Configuration, stage: str, outcome: Outcome[Any]) -> None:
        job = {
            "plugin": configuration.built.plugin,
            "ablation": list(configuration.ablation),
            "stage": stage,
            "status": "failed" if outcome.reason else "done",
            "seconds": outcome.seconds,
            "error": outcome.reason,
        }
        self.site.host.notify("qharness_job_finished", run=self.site.run.info, job=job)

    def _label(self, configuration: Configuration) -> str:
        return self.site.run.config_id(configuration.cell(self.site.plan))


def work(job: Job) -> Outcome[Any]:
    """Do a job, in whatever process."""
    if isinstance(job, EvaluationJob):
        return evaluate(job)
    return guarded(partial(_build, job))


def _build(job: BuildJob) -> tuple[Built, Facts]:
    site = job.site
    if job.plugin == BASELINE:
        return describe_baseline(site.plan, site.host)
    return build_artifact(job.plugin, site.plan, site.host, site.store, site.reporter)
