"""What every job of a run shares, and how it gets into another process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from qharness.executors.base import assigned_device
from qharness.host import Host
from qharness.jobs.plan import RunPlan
from qharness.jobs.progress import Reporter
from qharness.results.directory import RunDirectory


@dataclass
class Site:
    """Plan, run directory, plugins and progress of a run.

    Pickled, it is the plan, the path and the names of disabled plugins; another process loads the installed plugins
    anew and shows no progress of its own.

    Attributes:
        plan: The plan, checked.
        run: Directory of the run.
        host: Plugins and their records.
        reporter: Shows progress inside a job.
    """

    plan: RunPlan
    run: RunDirectory
    host: Host
    reporter: Reporter

    @property
    def store(self) -> Path:
        """Folder of what all runs share: artifacts, answers, checkpoints."""
        return self.run.path.parent / ".cache"

    def __getstate__(self) -> dict[str, Any]:
        """Return what crosses to another process."""
        return {"plan": self.plan, "run": self.run, "blocked": tuple(sorted(self.host.blocked))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the site in a worker, on the device that the worker was given."""
        plan: RunPlan = state["plan"]
        self.plan = replace(plan, device=assigned_device(plan.device))
        self.run = state["run"]
        self.host = _host(state["blocked"])
        self.reporter = Reporter(1, quiet=True)


@cache
def _host(blocked: tuple[str, ...]) -> Host:
    return Host(blocked=blocked)
