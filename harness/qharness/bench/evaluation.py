"""`qharness bench eval`: our engines against stock lm-eval, in one run on one machine and one model."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qharness.bench.agreement import compare
from qharness.bench.clock import Clock
from qharness.bench.rate import best_rate
from qharness.bench.recording import RecordingEngine, time_answers
from qharness.bench.results import TaskFigures, Timing, engine_data
from qharness.bench.stock import answer, attention_of, search_batch_size, stock_model
from qharness.engines.base import Engine, EngineRequest
from qharness.engines.forward import Forward
from qharness.engines.hf import HfEngine
from qharness.errors import QharnessError, UnknownName
from qharness.evaluation.lm import EngineLM
from qharness.evaluation.lm_eval_tasks import measure, prepare, tuned
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.models.loading import load_model
from qharness.records import EngineRecord

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM
    from lm_eval.api.task import Task

    from qharness.host import Host
    from qharness.records import Suite, TaskSpec

PROBE_CPU, PROBE_GPU = 2, 96
"""Documents of each kind on which the reference's batch size is searched."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class EvalBench:
    """What is measured.

    Attributes:
        model: Model reference.
        suite: Suite of the tasks.
        tasks: Tasks, all of the suite.
        data: `hub` or a folder of data sets.
        num_fewshot: Shots.
        limit: Documents a task; None for all.
        device, dtype: How the model is executed.
        engines: Names of our engines.
    """

    model: str
    suite: Suite
    tasks: Sequence[TaskSpec]
    data: str
    num_fewshot: int = 5
    limit: int | None = None
    device: str = "cpu"
    dtype: str = "float32"
    engines: tuple[str, ...] = ("hf",)


@dataclass
class Reference:
    """What stock lm-eval measured with one of its models, by task."""

    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    timings: dict[str, Timing] = field(default_factory=dict)


def bench_eval(bench: EvalBench, host: Host, tell: Tell) -> dict[str, Any]:
    """Measure everything and return the report as plain data.

    Args:
        bench: What is measured.
        host: Registry.
        tell: Called with a line about what goes on.

    Raises:
        QharnessError: Model or data cannot be had.
    """
    loaded = load_model(LoadRequest(bench.model, host, bench.dtype, bench.device))
    attention = str(loaded.model.config._attn_implementation)
    request = EngineRequest(bench.model, host, bench.dtype, bench.device)
    HfEngine(loaded, request)
    specs = {spec.name: spec for spec in bench.tasks}
    tasks = {name: _task(bench, name) for name in specs}
    kinds = {kind: [name for name, spec in specs.items() if spec.kind == kind] for kind in ("mc", "gen")}
    probes = {kind: _probe([tasks[name] for name in names], loaded) for kind, names in kinds.items() if names}
    tell("measuring the model's best rate")
    forward = Forward(loaded.model)
    rate = best_rate(forward, _longest(probes, loaded))
    stock = stock_model(loaded)
    batch: dict[str, dict[str, Any]] = {}
    with attention_of(loaded, attention):
        for kind, probe in probes.items():
            tell(f"searching stock lm-eval's best batch size for {kind}")
            searched = search_batch_size(stock, probe)
            batch[kind] = {"batch_size": stock.batch_size_per_gpu, "searched": searched, "requests": len(probe)}
    for probe in probes.values():
        answer(EngineLM(HfEngine(loaded, request), "prefill", _ignore), probe)
    reference, figures = Reference(), []
    for name, spec in specs.items():
        tell(f"{name}: stock lm-eval, batch size {batch[spec.kind]['batch_size']}")
        stock.batch_size_per_gpu = batch[spec.kind]["batch_size"]
        with attention_of(loaded, attention):
            reference.measured[name], reference.timings[name] = _measure(stock, tasks[name], bench, loaded)
        tell(f"{name}: hf engine")
        figures.append(_figures(HfEngine(loaded, request), spec, tasks[name], bench, reference, loaded))
    engines = {"hf": engine_data(figures, rate)} if "hf" in bench.engines else {}
    left_out: dict[str, str] = {}
    for engine in (engine for engine in bench.engines if engine != "hf"):
        try:
            found = _other_engine(engine, bench, host, tasks, reference, loaded, tell)
        except (QharnessError, ImportError, RuntimeError, ValueError) as error:
            left_out[engine] = str(error).splitlines()[0]
        else:
            engines[engine] = engine_data(found, None)
    hf = engines.get("hf", {"tasks": {}, "overall": {}})
    return {
        **_setting(bench, loaded),
        "rate": asdict(rate),
        "stock": {"lm_eval": version("lm_eval"), "batch": batch},
        "engines": engines,
        "left_out": left_out,
        "tasks": hf["tasks"],
        "overall": hf["overall"],
    }


def _task(bench: EvalBench, name: str) -> Task:
    task = bench.suite.load_tasks([name], bench.data)[name]
    prepare(task, bench.num_fewshot)
    return task


def _probe(tasks: Sequence[Task], loaded: LoadedModel) -> list[Instance]:
    """Return the requests of some documents of every task."""
    documents = -(-(PROBE_CPU if loaded.model.device.type == "cpu" else PROBE_GPU) // len(tasks))
    found = []
    for task in tasks:
        with tuned():
            task.build_all_requests(limit=documents)
        found += task.instances
    return found


def _longest(probes: dict[str, list[Instance]], loaded: LoadedModel) -> int:
    texts = {str(request.args[0]) for probe in probes.values() for request in probe}
    return max(len(loaded.tokenizer.encode(text)) for text in texts)


def _measure(lm: LM, task: Task, bench: EvalBench, loaded: LoadedModel) -> tuple[dict[str, Any], Timing]:
    """Return what lm-eval measures of a task with a model, and how long it took."""
    prepare(task, bench.num_fewshot)
    clock = Clock(loaded.model.device)
    held = {name: getattr(lm, name) for name in ("loglikelihood", "generate_until")}
    time_answers(lm, clock)
    started = time.perf_counter()
    try:
        measured = measure(lm, task, bench.limit)
    finally:
        for name, method in held.items():
            setattr(lm, name, method)
    return measured, Timing(clock.seconds, clock.cpu_seconds, time.perf_counter() - started)


def _figures(
    engine: Engine, spec: TaskSpec, task: Task, bench: EvalBench, reference: Reference, loaded: LoadedModel
) -> TaskFigures:
    recording = RecordingEngine(engine)
    before = getattr(engine, "tokens_fed", None)
    with tuned():
        measured, timing = _measure(EngineLM(recording, "prefill", _ignore), task, bench, loaded)
    forwarded = None if before is None else engine.tokens_fed - before  # type: ignore[attr-defined]
    stock = reference.measured.get(spec.name)
    agreement = compare(measured, stock, spec.name, bench.dtype == "float32") if stock else None
    requests, least = len(recording.rows), recording.least_tokens
    timings = reference.timings.get(spec.name)
    return TaskFigures(spec.name, spec.kind, requests, timing, timings, agreement, least, forwarded)


def _other_engine(
    name: str,
    bench: EvalBench,
    host: Host,
    tasks: dict[str, Task],
    hf: Reference,
    loaded: LoadedModel,
    tell: Tell,
) -> list[TaskFigures]:
    """Measure an engine of a plugin against stock lm-eval's model of the same name, else against its `hf` model.

    Raises:
        UnknownName: No plugin offers the engine.
    """
    record = host.get(EngineRecord, name)
    if name == "vllm" and find_spec("vllm") is None:
        raise UnknownName("installed package", "vllm", ())
    reference = hf
    if name == "vllm" and Path(loaded.model.name_or_path).is_dir():
        from lm_eval.models.vllm_causallms import VLLM

        tell("stock lm-eval with vllm")
        stock = VLLM(pretrained=loaded.model.name_or_path, dtype=bench.dtype, batch_size="auto")
        reference = Reference()
        for task_name, task in tasks.items():
            measured = _measure(stock, task, bench, loaded)
            reference.measured[task_name], reference.timings[task_name] = measured
        del stock
    engine = record.create(EngineRequest(bench.model, host, bench.dtype, bench.device))
    found = []
    try:
        for spec in bench.tasks:
            tell(f"{spec.name}: {name} engine")
            found.append(_figures(engine, spec, tasks[spec.name], bench, reference, loaded))
    finally:
        engine.close()
    return found


def _setting(bench: EvalBench, loaded: LoadedModel) -> dict[str, Any]:
    is_gpu = loaded.model.device.type == "cuda"
    return {
        "model": bench.model,
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "data": bench.data,
        "num_fewshot": bench.num_fewshot,
        "limit": bench.limit,
        "device": bench.device,
        "device_name": torch.cuda.get_device_name() if is_gpu else (platform.processor() or platform.machine()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "dtype": bench.dtype,
        "versions": {name: version(name) for name in ("qharness", "torch", "transformers", "lm_eval")},
    }


def _ignore(done: int, total: int) -> None:
    """Report no progress."""
