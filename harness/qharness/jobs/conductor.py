"""Conducts the jobs of a run and keeps its books; every failure stays inside its cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from qharness.estimation.forecast import Forecast
from qharness.evaluation.base import TaskFailure
from qharness.executors.base import Executor
from qharness.jobs.artifacts import Facts, build_artifact, describe_baseline
from qharness.jobs.chunks import ChunkJob, answer
from qharness.jobs.configurations import ArtifactSpec, Built, Configuration, artifact_specs, configurations
from qharness.jobs.divided import DividedSteps
from qharness.jobs.estimate import Estimate, EstimateJob, estimate
from qharness.jobs.evaluate import EvaluationJob, Measured, evaluate, evaluation_jobs, steps
from qharness.jobs.matrix import drafts, rows_of, selected, subject_of
from qharness.jobs.outcome import Outcome, guarded
from qharness.jobs.plan import BASELINE
from qharness.jobs.progress import spoken
from qharness.jobs.site import Site
from qharness.jobs.spent import Spent


@dataclass(frozen=True)
class BuildJob:
    """A model of a run: an artifact of a quantizer, or the description of the baseline."""

    site: Site
    spec: ArtifactSpec


Job = BuildJob | EstimateJob | EvaluationJob | ChunkJob
WORTH_AN_ESTIMATE = 16
"""Documents a task from which a run is estimated before it starts."""
SURVEYED = 4
"""Documents of each task whose requests are built for that."""
TIMED = 1
"""Steps of each evaluator whose writing is timed for that."""


class Conductor:
    """Drives the jobs of a run and keeps its books: only this process writes failures and artifacts.

    Args:
        site: What the run shares.
        executor: Where jobs run.
    """

    def __init__(self, site: Site, executor: Executor) -> None:
        self.site, self.executor = site, executor
        self.built: dict[ArtifactSpec, Built] = {}
        self.failed = False
        self.forecast = site.reporter.forecast = Forecast(executor.workers)
        self._facts: dict[ArtifactSpec, Facts] = {}
        self._divided = DividedSteps()
        self._spent: dict[Configuration, Spent] = {}
        self._stopped: set[Configuration] = set()

    def through_all(self) -> bool:
        """Build and evaluate everything; returns whether any cell failed.

        The baseline is evaluated while the artifacts are built, if the executor has workers to spare.
        """
        plan = self.site.plan
        baseline, *specs = artifact_specs(plan)
        self._build([baseline])
        if baseline not in self.built:
            return True
        self.forecast.expect_builds(1 + len(specs))
        self.forecast.expect_more(len(specs) * (1 + len(plan.ablate)))
        if plan.matrix is not None:
            return self._through_matrix(baseline)
        first = configurations(plan, [self.built[baseline]])
        self._build(specs, first, self._estimates(first[0]))
        built = [self.built[spec] for spec in specs if spec in self.built]
        rest = [c for c in configurations(plan, built) if c not in first]
        self._explain_ablations(rest)
        self._expect(len(first) + len(rest))
        self._do(self._evaluations(rest))
        return self.failed

    def _through_matrix(self, baseline: ArtifactSpec) -> bool:
        """Build the method as published, which tells the rows, then what else they need; rows share artifacts."""
        site = self.site
        published = ArtifactSpec(site.plan.plugins[0], site.plan.seed)
        first = [Configuration(self.built[baseline])]
        self._build([published], first, self._estimates(first[0]))
        if published not in self.built:
            return True
        subject = subject_of(site.plan, site.host, self.built[published])
        matrix = site.plan.matrix or {}
        chosen = selected(drafts(subject), matrix.get("rows", ()))
        self._build([spec for spec in dict.fromkeys(row.artifact for row in chosen) if spec not in self.built])
        rows = rows_of(chosen, self.built, matrix.get("dose_limit"))
        named = [(self._label(row.configuration), row) for row in rows]
        site.run.write_rows([{"row": row.name, "purpose": row.purpose, "config": name} for name, row in named])
        rest = {name: row.configuration for name, row in named if row.configuration not in first}
        self._expect(len(first) + len(rest))
        self._do(self._evaluations(rest.values()))
        return self.failed

    def _build(
        self, specs: Iterable[ArtifactSpec], meanwhile: Iterable[Configuration] = (), first: Iterable[Any] = ()
    ) -> None:
        """Do the first jobs, build models, and evaluate configurations meanwhile.

        Models are listed in the order of the plan, whichever is ready first.
        """
        wanted = list(specs)
        self._do([*first, *(BuildJob(self.site, spec) for spec in wanted), *self._evaluations(meanwhile)])
        for spec in wanted:
            if spec in self._facts:
                self.site.run.write_artifact(self._facts[spec])

    def _estimates(self, configuration: Configuration) -> list[EstimateJob]:
        """Return the job that estimates the run; none for a run so small that it would take longer than it saves."""
        limit = self.site.plan.limit
        if limit is not None and limit < WORTH_AN_ESTIMATE:
            return []
        return [EstimateJob(self.site, configuration, documents=SURVEYED, writing=TIMED)]

    def _expect(self, count: int) -> None:
        """Tell the reporter how many steps there are, now that the configurations are known."""
        self.forecast.expect_more(0)
        self.site.reporter.total = len(self.built) + count * len(steps(self.site.plan, self.site.host))

    def _evaluations(self, chosen: Iterable[Configuration]) -> list[EvaluationJob]:
        jobs = []
        for configuration in chosen:
            left = evaluation_jobs(self.site, configuration, self.executor.workers)
            jobs += left
            todo = {key for job in left for key in job.steps}
            self.forecast.expect(configuration, todo, configuration.limit)
            for step in steps(self.site.plan, self.site.host):
                if step.key not in todo:
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
        """Do jobs and what follows from them."""
        self._spent, self._stopped = {}, set()
        self.executor.run(work, jobs, self._settle)
        for configuration, spent in self._spent.items():
            if configuration not in self._stopped:
                self._notify(configuration, "evaluate", Outcome(None, spent.seconds))

    def _settle(self, job: Any, outcome: Outcome[Any]) -> Iterable[Any]:
        """Write down what came of a job and return the jobs that follow from it."""
        if isinstance(job, BuildJob):
            self._settle_build(job, outcome)
            return ()
        if isinstance(job, EstimateJob):
            self._settle_estimate(outcome)
            return ()
        if isinstance(job, ChunkJob):
            return self._divided.settle(job, outcome)
        return self._settle_evaluation(job, outcome)

    def _settle_estimate(self, outcome: Outcome[Estimate]) -> None:
        if outcome.value is None:
            self.site.reporter.say(f"The time cannot be estimated: {outcome.reason}")
            return
        found = outcome.value.probe
        self.forecast.begin(found.sizes, found.rates)
        self.site.reporter.say(
            f"About {spoken(self.forecast.total())} of evaluation: prompts are read at {found.rates.prefill:,.0f} and "
            f"texts written at {found.rates.decode:,.0f} tokens a second"
            + (f" by each of {self.executor.workers} workers." if self.executor.workers > 1 else ".")
        )

    def _settle_build(self, job: BuildJob, outcome: Outcome[tuple[Built, Facts]]) -> None:
        configuration = Configuration(Built(job.spec, self.site.plan.model, ""))
        if outcome.value is None:
            self._record(configuration, "quantize", outcome)
        else:
            self.built[job.spec], self._facts[job.spec] = outcome.value
            self.site.run.write_artifact(self._facts[job.spec])
            self._notify(configuration, "quantize", outcome)
        self.forecast.built(outcome.seconds)
        self.site.reporter.step(f"{self._label(configuration)}: ready", outcome.seconds)

    def _settle_evaluation(self, job: EvaluationJob, outcome: Outcome[Measured]) -> Iterable[Any]:
        if outcome.value is None:
            self._stopped.add(job.configuration)
            self.forecast.drop(job.configuration, job.steps)
            self._record(job.configuration, "evaluate", outcome)
            return ()
        label = self._label(job.configuration)
        self.site.run.write_kernels(job.configuration.cell(self.site.plan), outcome.value.kernels)
        for failure in outcome.value.failures:
            self.failed = self.failed or not failure.is_skipped
            self.site.run.record_failure(job.configuration.cell(self.site.plan), failure)
            what = "is skipped" if failure.is_skipped else "failed"
            self.site.reporter.say(f"{label}: {failure.task} {what}: {failure.reason}")
        following: list[ChunkJob] = []
        for key, spent in outcome.value.spent.items():
            if key in outcome.value.divisions:
                following += self._divided.chunks(job, key, outcome.value.divisions[key], spent)
                continue
            whole = job.spent + spent
            self._spent[job.configuration] = self._spent.get(job.configuration, Spent()) + whole
            self.forecast.finish(job.configuration, key, whole)
            evaluator, task, _ = key
            self.site.reporter.step(f"{label}: {evaluator} {task}", whole.seconds)
        return following

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
    if isinstance(job, ChunkJob):
        return answer(job)
    if isinstance(job, EstimateJob):
        return estimate(job)
    return guarded(partial(_build, job))


def _build(job: BuildJob) -> tuple[Built, Facts]:
    site = job.site
    if job.spec.plugin == BASELINE:
        return describe_baseline(site.plan, site.host)
    return build_artifact(job.spec, site.plan, site.host, site.store, site.reporter)
