"""A whole run: quantize, evaluate, judge, report; every failure stays inside its cell."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from qharness.errors import QharnessError
from qharness.evaluation.base import TaskFailure
from qharness.host import Host
from qharness.jobs.artifacts import build_artifact, describe_baseline
from qharness.jobs.calibration import calibration_name
from qharness.jobs.conclusion import conclude_run
from qharness.jobs.configurations import Built, Configuration, configurations
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
    total = (1 + len(plan.plugins)) * (1 + len(steps(plan, host)))
    with Reporter(total, quiet) as reporter:
        built, failed = _build_all(plan, host, run, store, reporter)
        chosen = configurations(plan, built)
        for name in plan.ablate:
            if not any(name in configuration.ablation for configuration in chosen):
                reporter.say(f"No artifact of this run has the transform '{name}': --ablate {name} adds no row.")
        reporter.total = 1 + len(plan.plugins) + len(chosen) * len(steps(plan, host))

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
            failed |= any(list(executor.map(evaluate, chosen)))
        finally:
            executor.shutdown()
    report = conclude_run(run, host)
    run.finish()
    host.notify("qharness_run_finished", run=run.info)
    return RunOutcome(run, report, failed)


def _build_all(
    plan: RunPlan, host: Host, run: RunDirectory, store: Path, reporter: Reporter
) -> tuple[dict[str, Built], bool]:
    built: dict[str, Built] = {}
    failed = False
    for plugin in (BASELINE, *plan.plugins):
        cell = Configuration(Built(plugin, plan.model, "")).cell(plan)
        started = time.monotonic()

        def work(plugin: str = plugin) -> tuple[Built, dict[str, Any]]:
            if plugin == BASELINE:
                return describe_baseline(plan, host)
            return build_artifact(plugin, plan, host, store, reporter)

        outcome = _guarded(work, "quantize", cell, host, run, reporter)
        if outcome is None:
            failed = True
            if plugin == BASELINE:
                break
        else:
            built[plugin], facts = outcome
            run.write_artifact(facts)
        reporter.step(f"{plugin}: ready", time.monotonic() - started)
    return built, failed


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
