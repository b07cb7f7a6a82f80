"""A whole run: quantize, evaluate, judge, report; every failure stays inside its cell."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from qharness.errors import QharnessError
from qharness.evaluation.base import TaskFailure
from qharness.host import Host
from qharness.jobs.artifacts import build_artifact, describe_baseline
from qharness.jobs.calibration import calibration_name
from qharness.jobs.conclusion import conclude_run
from qharness.jobs.configurations import (
    ArtifactSpec,
    Built,
    Configuration,
    artifact_specs,
    configurations,
    unused_ablations,
)
from qharness.jobs.evaluate import evaluate_configuration, steps
from qharness.jobs.plan import BASELINE, RunPlan
from qharness.jobs.progress import Reporter
from qharness.records import ExecutorRecord
from qharness.results.directory import RunDirectory
from qharness.results.environment import environment
from qharness.results.schema import Cell

T = TypeVar("T")


@dataclass(frozen=True)
class RunOutcome:
    """Where the run is, and whether every cell was filled."""

    run: RunDirectory
    report: Path | None
    failed: bool


def start_run(plan: RunPlan, host: Host, runs: Path) -> RunDirectory:
    """Create the run directory; the first thing that is written, so an unwritable folder fails at once."""
    common = {
        "engine": plan.engine,
        "kernels": plan.kernels,
        "dtype": plan.dtype,
        "seed": plan.seed,
        "calibration": calibration_name(plan),
    }
    return RunDirectory.create(runs, plan.to_json(), environment=environment(), notice=plan.notice(host), common=common)


def execute(plan: RunPlan, host: Host, run: RunDirectory, *, quiet: bool = False) -> RunOutcome:
    """Do everything of the plan that the run directory does not hold yet.

    Args:
        plan: The plan, checked.
        host: Plugins and their records.
        run: Directory of the run, new or reopened.
        quiet: Print no progress.
    """
    store = run.path.parent / ".cache"
    host.notify("qharness_run_started", run=run.info)
    specs = artifact_specs(plan)
    with Reporter(len(specs) * (1 + len(steps(plan, host))), quiet) as reporter:
        builder = _Builder(plan, host, run, store, reporter)
        chosen = _matrix(plan, host, run, builder) if plan.matrix is not None else _plain(plan, specs, builder)
        for name in unused_ablations(plan, chosen):
            reporter.say(f"No artifact of this run has the transform '{name}': --ablate {name} adds no row.")
        reporter.total = len(builder.built) + len(chosen) * len(steps(plan, host))

        def evaluate(configuration: Configuration) -> bool:
            cell = configuration.cell(plan)

            def work() -> list[TaskFailure]:
                return evaluate_configuration(
                    configuration, plan=plan, host=host, run=run, cache=store / "requests", reporter=reporter
                )

            outcome = _guarded(work, "evaluate", cell, host, run, reporter)
            return outcome is None or bool(outcome)

        executor = host.get(ExecutorRecord, plan.executor).create()
        try:
            failed = any(list(executor.map(evaluate, chosen))) or builder.failed
        finally:
            executor.shutdown()
    report = conclude_run(run, host)
    run.finish()
    host.notify("qharness_run_finished", run=run.info)
    return RunOutcome(run, report, failed)


class _Builder:
    """Models of a run, each built once; a failure is stored and fails only what needs that model."""

    def __init__(self, plan: RunPlan, host: Host, run: RunDirectory, store: Path, reporter: Reporter) -> None:
        self.plan, self.host, self.run, self.store, self.reporter = plan, host, run, store, reporter
        self.built: dict[ArtifactSpec, Built | None] = {}

    @property
    def failed(self) -> bool:
        """Whether a model could not be built."""
        return None in self.built.values()

    def build(self, spec: ArtifactSpec) -> Built | None:
        """Return the model, or None if it failed; nothing is built for a run whose baseline failed."""
        if spec not in self.built and self.built.get(artifact_specs(self.plan)[0], True) is not None:
            self.built[spec] = self._build(spec)
        return self.built.get(spec)

    def _build(self, spec: ArtifactSpec) -> Built | None:
        cell = Configuration(Built(spec, self.plan.model, "")).cell(self.plan)
        started = time.monotonic()

        def work() -> tuple[Built, dict[str, Any]]:
            if spec.plugin == BASELINE:
                return describe_baseline(self.plan, self.host)
            return build_artifact(spec, self.plan, self.host, self.store, self.reporter)

        outcome = _guarded(work, "quantize", cell, self.host, self.run, self.reporter)
        self.reporter.step(f"{self.run.config_id(cell)}: ready", time.monotonic() - started)
        if outcome is None:
            return None
        built, facts = outcome
        self.run.write_artifact(facts)
        return built


def _plain(plan: RunPlan, specs: Sequence[ArtifactSpec], builder: _Builder) -> list[Configuration]:
    return configurations(plan, [built for built in map(builder.build, specs) if built is not None])


def _matrix(plan: RunPlan, host: Host, run: RunDirectory, builder: _Builder) -> list[Configuration]:
    """Return the configurations of the ablation matrix, each once, and store which rows they are."""
    from qharness.jobs.matrix import matrix_rows

    builder.build(artifact_specs(plan)[0])
    rows = matrix_rows(plan, host, builder.build, (plan.matrix or {}).get("rows", ()))
    named = [(run.config_id(row.configuration.cell(plan)), row) for row in rows]
    run.write_rows([{"row": row.name, "purpose": row.purpose, "config": config} for config, row in named])
    return list({config: row.configuration for config, row in named}.values())


def _guarded(
    work: Callable[[], T], stage: str, cell: Cell, host: Host, run: RunDirectory, reporter: Reporter
) -> T | None:
    started = time.monotonic()
    job: dict[str, Any] = {"plugin": cell.plugin, "ablation": list(cell.ablation), "stage": stage}
    try:
        outcome = work()
    except Exception as error:
        reason = str(error) if isinstance(error, QharnessError) else f"{type(error).__name__}: {error}"
        details = {"stage": stage, "traceback": traceback.format_exc()}
        run.record_failure(cell, TaskFailure(stage, "", reason), **details)
        reporter.say(f"{run.config_id(cell)}: {stage} failed: {reason}")
        job |= {"status": "failed", "seconds": time.monotonic() - started, "error": reason}
        host.notify("qharness_job_finished", run=run.info, job=job)
        return None
    job |= {"status": "done", "seconds": time.monotonic() - started, "error": ""}
    host.notify("qharness_job_finished", run=run.info, job=job)
    return outcome
