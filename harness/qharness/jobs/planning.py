"""What a run will take before it starts: time, memory, disk and price."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qharness.errors import QharnessError
from qharness.estimation.history import earlier
from qharness.estimation.sizes import StepSize
from qharness.executors.base import Executor
from qharness.host import Host
from qharness.jobs.conductor import BuildJob, work
from qharness.jobs.configurations import ArtifactSpec, Built, Configuration, artifact_specs, configurations
from qharness.jobs.engines import close_engines
from qharness.jobs.estimate import Estimate, EstimateJob
from qharness.jobs.outcome import Outcome
from qharness.jobs.plan import RunPlan
from qharness.jobs.progress import Reporter
from qharness.jobs.run import common_fields
from qharness.jobs.site import Site
from qharness.quantization.options import options_from
from qharness.records import ExecutorRecord, QuantizerRecord
from qharness.results.directory import RunDirectory

STORED_BYTES = 700
"""Bytes on disk of one request with its answer in the cache and in the samples: measured on polish22."""
ALL = 1 << 30
"""More steps than a run has: the writing of each is timed."""


def plan_run(
    plan: RunPlan, host: Host, runs: Path, reporter: Reporter, documents: int, price: float | None = None
) -> dict[str, Any]:
    """Survey and probe the baseline where the run would be done, and extrapolate.

    Args:
        plan: The plan, checked.
        host: Registry.
        runs: Folder of all runs, whose earlier artifacts tell how long a method takes.
        reporter: Shows progress.
        documents: Documents of each task whose requests are built.
        price: Dollars an hour of everything that the run uses, or None.

    Returns:
        Plain data, described in docs/cli.md.

    Raises:
        QharnessError: The model cannot be loaded or nothing can be estimated.
    """
    site = Site(plan, RunDirectory(runs / "plan", {"common": common_fields(plan)}), host, reporter)
    executor = host.get(ExecutorRecord, plan.executor).create(plan.executor_request())
    try:
        built, _ = _result(executor, BuildJob(site, artifact_specs(plan)[0]))
        job = EstimateJob(site, configurations(plan, [built])[0], documents, ALL)
        found: Estimate = _result(executor, job)
        return summary(site, built, found, executor.workers, price)
    finally:
        close_engines()
        executor.shutdown()


def summary(site: Site, built: Built, found: Estimate, workers: int, price: float | None) -> dict[str, Any]:
    """Return the plan as data.

    Args:
        site: What the run would share.
        built: The baseline.
        found: What was counted and measured.
        workers: Jobs that run at once.
        price: Dollars an hour, or None.
    """
    plan, rates = site.plan, found.probe.rates
    sizes = found.probe.sizes
    seconds = sum(rates.of(size) for size in sizes.values())
    artifacts = [_artifact(spec, site, found) for spec in artifact_specs(plan)[1:]]
    named = [site.run.config_id(configuration.cell(plan)) for configuration in _configurations(plan, built)]
    quantization = sum(artifact["seconds"] or 0.0 for artifact in artifacts)
    total = (seconds * len(named) + quantization) / workers
    requests = sum(size.requests for size in sizes.values())
    sizes_known = all(artifact["size_bytes"] is not None for artifact in artifacts)
    disk = sum(artifact["size_bytes"] or 0 for artifact in artifacts) + len(named) * requests * STORED_BYTES
    return {
        "model": plan.model,
        "data": plan.data,
        "device": plan.device,
        "executor": plan.executor,
        "workers": workers,
        "rates": {"prefill": rates.prefill, "decode": rates.decode, "batches": found.probe.batches},
        "steps": [_step(*key, size=size, seconds=rates.of(size)) for key, size in sizes.items()],
        "not_estimated": [{"evaluator": evaluator, "task": task} for evaluator, task, _ in found.unknown],
        "configurations": [{"config": name, "seconds": seconds} for name in named],
        "artifacts": artifacts,
        "seconds": total,
        "memory_bytes": found.peak_bytes or found.weight_bytes + _states(sizes, found),
        "memory_measured": found.peak_bytes is not None,
        "disk_bytes": disk,
        "price_per_hour": price,
        "price": None if price is None else price * total / 3600,
        "notes": _notes(plan, found, artifacts, sizes_known),
    }


def _result(executor: Executor, job: Any) -> Any:
    outcomes: list[Outcome[Any]] = []

    def settle(job: Any, outcome: Outcome[Any]) -> tuple[()]:
        outcomes.append(outcome)
        return ()

    executor.run(work, [job], settle)
    if outcomes[0].value is None:
        raise QharnessError(outcomes[0].reason)
    return outcomes[0].value


def _configurations(plan: RunPlan, built: Built) -> list[Configuration]:
    """Return every configuration that may come: whether an artifact has a transform is known when it is built."""
    found = configurations(plan, [built])
    for spec in artifact_specs(plan)[1:]:
        model = Built(spec, "", "")
        bits, prefill = plan.kv_bits, plan.kv_prefill if plan.kv_bits < 16 else ""
        found += [Configuration(model, ablation, bits, prefill) for ablation in [(), *((n,) for n in plan.ablate)]]
    return found


def _artifact(spec: ArtifactSpec, site: Site, found: Estimate) -> dict[str, Any]:
    record = site.host.get(QuantizerRecord, spec.plugin)
    options = options_from(record, spec.plan(site.plan).settings.get(spec.plugin, {}))
    known = earlier(site.store / "artifacts", spec.plugin, is_cpu=site.plan.device == "cpu")
    size = None
    if found.linear_weights:
        width = 4 if site.plan.dtype == "float32" else 2
        others = found.weight_bytes // width - found.linear_weights
        size = round((found.linear_weights * record.nominal_bits(options) + others * 16) / 8)
    seconds = None if known is None or not found.linear_weights else known.seconds * found.linear_weights
    return {"plugin": spec.plugin, "seed": spec.seed, "seconds": seconds, "size_bytes": size}


def _states(sizes: Mapping[Any, StepSize], found: Estimate) -> int:
    return max((size.slots for size in sizes.values()), default=0) * found.state_bytes


def _step(evaluator: str, task: str, num_fewshot: int, size: StepSize, seconds: float) -> dict[str, Any]:
    return {
        "evaluator": evaluator, "task": task, "num_fewshot": num_fewshot, "documents": size.documents,
        "requests": size.requests, "prefill_tokens": size.prefill, "decode_tokens": round(size.decode * size.share),
        "seconds": seconds,
    }  # fmt: skip


def _notes(plan: RunPlan, found: Estimate, artifacts: list[dict[str, Any]], sizes_known: bool) -> list[str]:
    notes = []
    unknown = list(dict.fromkeys(artifact["plugin"] for artifact in artifacts if artifact["seconds"] is None))
    if unknown:
        notes.append(
            f"How long {', '.join(unknown)} quantizes is unknown until it has been done once on this kind of device; "
            "it is not part of the time."
        )
    if artifacts:
        notes.append("Quantized models are taken to be as fast as the unquantized one, which was timed.")
    if artifacts and plan.ablate:
        notes.append("Rows of --ablate count for every artifact, although not each may have the transform.")
    if found.unknown:
        names = ", ".join(dict.fromkeys(evaluator for evaluator, _, _ in found.unknown))
        notes.append(f"Not every step of {names} could be counted; those are not part of the time.")
    if not sizes_known:
        notes.append("The engine does not tell the model's size; artifacts are not part of the disk space.")
    notes.append("Answers that the request cache already has, and artifacts that are stored, take no time again.")
    return notes
