"""A whole run: quantize, evaluate, judge, report."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qharness.host import Host
from qharness.jobs.calibration import calibration_name
from qharness.jobs.conclusion import conclude_run
from qharness.jobs.conductor import Conductor
from qharness.jobs.configurations import artifact_specs
from qharness.jobs.engines import close_engines
from qharness.jobs.evaluate import REQUESTS, steps
from qharness.jobs.plan import RunPlan
from qharness.jobs.progress import Reporter
from qharness.jobs.site import Site
from qharness.records import ExecutorRecord
from qharness.results.directory import RunDirectory
from qharness.results.environment import environment


@dataclass(frozen=True)
class RunOutcome:
    """Where the run is, and whether every cell was filled."""

    run: RunDirectory
    report: Path | None
    failed: bool


def start_run(plan: RunPlan, host: Host, runs: Path) -> RunDirectory:
    """Create the run directory; the first thing that is written, so an unwritable folder fails at once."""
    return RunDirectory.create(
        runs, plan.to_json(), environment=environment(), notice=plan.notice(host), common=common_fields(plan)
    )


def common_fields(plan: RunPlan) -> dict[str, Any]:
    """Return what all configurations of a run share, and what their names therefore leave out."""
    return {
        "engine": plan.engine,
        "kernels": plan.kernels,
        "dtype": plan.dtype,
        "seed": plan.seed,
        "calibration": calibration_name(plan),
    }


def execute(plan: RunPlan, host: Host, run: RunDirectory, *, quiet: bool = False) -> RunOutcome:
    """Do everything of the plan that the run directory does not hold yet.

    Args:
        plan: The plan, checked.
        host: Plugins and their records.
        run: Directory of the run, new or reopened.
        quiet: Print no progress.
    """
    host.notify("qharness_run_started", run=run.info)
    total = len(artifact_specs(plan)) * (1 + len(steps(plan, host)))
    with Reporter(total, quiet) as reporter:
        executor = host.get(ExecutorRecord, plan.executor).create(plan.executor_request())
        try:
            failed = Conductor(Site(plan, run, host, reporter), executor).through_all()
        finally:
            close_engines()
            executor.shutdown()
            shutil.rmtree(run.path / REQUESTS, ignore_errors=True)
    report = conclude_run(run, host)
    run.finish()
    host.notify("qharness_run_finished", run=run.info)
    return RunOutcome(run, report, failed)
