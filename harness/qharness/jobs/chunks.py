"""Chunks of a large step: some batches of its list of requests, answered into the request cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qharness.engines.base import Engine
from qharness.engines.planned import Planned, PlannedEngine
from qharness.engines.requests import RequestList
from qharness.errors import DigestMismatch
from qharness.evaluation.cache import identity_digest
from qharness.jobs.configurations import Configuration
from qharness.jobs.engines import engine_for, kept_beside_engine
from qharness.jobs.outcome import Outcome, guarded
from qharness.jobs.site import Site
from qharness.jobs.spent import Spent, Stopwatch


@dataclass(frozen=True)
class ChunkJob:
    """Some batches of a list of requests.

    Attributes:
        site: What the run shares.
        configuration: What is asked.
        path: File with the requests.
        plan: Digest of the plan.
        places: Batches to answer.
    """

    site: Site
    configuration: Configuration
    path: Path
    plan: str
    places: tuple[int, ...]


def answer(job: ChunkJob) -> Outcome[Spent]:
    """Answer a chunk; its answers go into the request cache."""
    return guarded(partial(_answer, job))


def _answer(job: ChunkJob) -> Spent:
    """Answer the batches that nobody has answered yet.

    Raises:
        QharnessError: The model cannot be loaded, or this worker would answer otherwise than the one that planned.
    """
    engine = engine_for(job.site, job.configuration)
    watch = Stopwatch(engine)
    _plan(job, engine).store(job.places)
    return watch.read()


def _plan(job: ChunkJob, engine: Engine) -> Planned[Any]:
    """Return the plan of the list, which is kept for its next chunk."""
    kept = kept_beside_engine()
    if job.path not in kept:
        asked = RequestList.read(job.path)
        if not isinstance(engine, PlannedEngine) or identity_digest(engine.identity) != asked.identity:
            raise DigestMismatch(
                "A worker's model or software differs from that of the worker that planned its requests; install the "
                "same versions on every machine."
            )
        planned = engine.plan(asked.path, asked.requests)
        if not planned.digest == asked.plan == job.plan:
            raise DigestMismatch(f"The requests in '{job.path}' are not those of this job; continue with --resume.")
        kept.clear()
        kept[job.path] = planned
    found: Planned[Any] = kept[job.path]
    return found
