"""The job that counts what a run asks and measures how fast its model answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from qharness.engines.planned import PlannedEngine
from qharness.errors import UsageError
from qharness.estimation.probe import Extent, Probe, probe
from qharness.estimation.survey import survey
from qharness.evaluation.base import StepKey
from qharness.jobs.configurations import Configuration
from qharness.jobs.engines import close_engines, engine_for
from qharness.jobs.evaluate import context_for, steps
from qharness.jobs.outcome import Outcome, guarded
from qharness.jobs.site import Site

BATCH_ON_CPU = 4096
"""Tokens of a timed batch on a CPU, where larger ones are no faster; a GPU is timed with batches of full size."""


@dataclass(frozen=True)
class EstimateJob:
    """A survey and a probe of one configuration.

    Attributes:
        site: What the run shares.
        configuration: The model that is timed.
        documents: Documents of each task whose requests are built.
        writing: Steps of each evaluator whose writing is timed.
    """

    site: Site
    configuration: Configuration
    documents: int
    writing: int


@dataclass(frozen=True)
class Estimate:
    """What a run asks, how fast it is answered, and what it holds in memory.

    Attributes:
        probe: Sizes and rates.
        unknown: Steps that could not be counted.
        weight_bytes: Bytes of the model in memory.
        state_bytes: Bytes of one token's keys and values.
        linear_weights: Number of weights that a quantizer would quantize, 0 if unknown.
        peak_bytes: Most memory of the GPU during the probe; None on a CPU.
    """

    probe: Probe
    unknown: tuple[StepKey, ...]
    weight_bytes: int
    state_bytes: int
    linear_weights: int
    peak_bytes: int | None


def estimate(job: EstimateJob) -> Outcome[Estimate]:
    """Do the job; a failure is returned."""
    return guarded(partial(_estimate, job))


def _estimate(job: EstimateJob) -> Estimate:
    """Count and measure.

    Raises:
        UsageError: The engine does not plan its work, or the steps ask nothing.
    """
    site, plan = job.site, job.site.plan
    engine = engine_for(site, job.configuration)
    if not isinstance(engine, PlannedEngine):
        raise UsageError(f"The engine '{plan.engine}' does not tell its work beforehand, so nothing can be estimated.")
    chosen = steps(plan, site.host)
    contexts = {step.key: context_for(step, site, job.configuration, engine) for step in chosen}
    surveyed = survey(chosen, contexts, engine, job.documents)
    if not surveyed:
        raise UsageError("The suites ask nothing of the model that could be estimated.")
    is_cpu = plan.device == "cpu"
    if not is_cpu:
        import torch

        torch.cuda.reset_peak_memory_stats()
    found = probe(engine, surveyed, Extent(BATCH_ON_CPU if is_cpu else 0, job.writing))
    peak = None if is_cpu else torch.cuda.max_memory_allocated()
    facts = engine.weight_bytes, engine.state_bytes, engine.linear_weights
    if not is_cpu:
        close_engines()  # a quantization that comes next wants the memory
    unknown = tuple(step.key for step in chosen if step.key not in surveyed)
    return Estimate(found, unknown, *facts, peak)
