"""The plan of a run: every choice resolved before anything is computed, and written to run.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from qharness.artifacts.layout import MANIFEST
from qharness.errors import UnknownName, UsageError, normalize_name
from qharness.executors.base import ExecutorRequest
from qharness.host import Host
from qharness.records import (
    DataSource,
    EngineRecord,
    EvaluatorRecord,
    ExecutorRecord,
    LoaderRecord,
    QuantizerRecord,
    Suite,
    TaskSpec,
)

BASELINE = "fp16"
DEFAULT_MODEL = "demo"
CHUNK_TOKENS = 32768
"""Seconds of work for a GPU or a few cores: much against reading the requests, little against losing a worker."""


@dataclass(frozen=True)
class RunPlan:
    """Everything that decides the outcome of a run; JSON-able.

    Attributes:
        plugins: Quantizers, without the baseline.
        suites: Suites, in the order given.
        tasks: Data sets or tasks of the suites that alone are measured; empty for all.
        model: Model reference.
        data: Name of the data source, or a folder.
        evaluators: Evaluators to run.
        num_fewshot: Shots, each measured; None for the suite's default.
        limit: Documents per task; None for all.
        seed: Seed of quantization and sampling.
        seeds: How many times each method quantizes, with seeds from `seed` up.
        engine, executor, kernels, kv_bits, kv_prefill, device, dtype: How models are executed.
        workers: Number of the executor's workers; chosen by it when 0.
        ray_address: Address of an existing Ray cluster, or empty.
        chunk_tokens: Least work that a step is divided into, in tokens.
        ablate: Runtime transforms of which each is left out in rows of its own.
        chat_template, system: How prompts are wrapped.
        settings: Options of quantizers, `{plugin: {option: text}}`.
        texts, calibration_samples, calibration_length, hessians: Calibration.
        perplexity: Texts of the evaluator `perplexity`.
        calibrations: Named calibrations that are compared, `{name: text sources}`; empty for one, from `texts`.
        matrix: The ablation matrix that is run in place of the plugins' plain rows, or None.
    """

    plugins: tuple[str, ...]
    suites: tuple[str, ...]
    model: str = DEFAULT_MODEL
    data: str = "hub"
    evaluators: tuple[str, ...] = ("mc", "gen", "decode_ll", "free")
    num_fewshot: tuple[int, ...] | None = None
    limit: int | None = None
    seed: int = 0
    seeds: int = 1
    engine: str = "hf"
    executor: str = "inline"
    workers: int = 0
    ray_address: str = ""
    chunk_tokens: int = CHUNK_TOKENS
    kernels: str = "auto"
    kv_bits: int = 16
    kv_prefill: str = "invisible"
    device: str = "cpu"
    dtype: str = "float32"
    ablate: tuple[str, ...] = ()
    chat_template: bool = False
    system: str | None = None
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    calibration_samples: int | None = None
    calibration_length: int | None = None
    hessians: str | None = None
    perplexity: tuple[str, ...] = ()
    calibrations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    matrix: Mapping[str, Any] | None = None
    tasks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON-able data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunPlan:
        """Read a plan back from `to_json`."""
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in data.items() if n in known}
        if isinstance(values.get("num_fewshot"), int):
            values["num_fewshot"] = (values["num_fewshot"],)
        return cls(**values)

    def check(self, host: Host) -> None:
        """Look every name up before anything is computed.

        Raises:
            UnknownName: A plugin, suite, evaluator, engine or executor does not exist.
            UsageError: Options contradict each other or a folder is missing.
        """
        for name in self.plugins:
            host.get(QuantizerRecord, name)
        for name in self.suites:
            host.get(Suite, name)
        for name in self.evaluators:
            host.get(EvaluatorRecord, name)
        host.get(EngineRecord, self.engine)
        host.get(ExecutorRecord, self.executor).check(self.executor_request())
        for name in self.settings:
            if name not in self.plugins:
                raise UnknownName("quantizer in this run", name, self.plugins)
        suites = [host.get(Suite, name) for name in self.suites]
        specs = [spec for suite in suites for spec in (*suite.tasks, *suite.companions)]
        for name in self.tasks:
            if not any(is_named(spec, (name,)) for spec in specs):
                raise UnknownName("data set or task in this run", name, {spec.dataset for spec in specs})
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit {self.limit} leaves no documents; give a number of at least 1.")
        if self.num_fewshot is not None and (not self.num_fewshot or min(self.num_fewshot) < 0):
            raise UsageError("--num-fewshot takes numbers of examples such as 5 or 0,5.")
        if "perplexity" in self.evaluators and not self.perplexity:
            raise UsageError("The evaluator perplexity needs text: name some with --perplexity.")
        if self.seeds < 1:
            raise UsageError(f"--seeds {self.seeds} quantizes nothing; give a number of at least 1.")
        if self.calibrations and (self.texts or self.hessians):
            raise UsageError("--calibration NAME=SOURCE names the calibration texts; drop --text and --hessians.")
        if self.system is not None and not self.chat_template:
            raise UsageError("--system needs --apply-chat-template: without it there is no system prompt.")
        if self.workers < 0 or self.chunk_tokens < 1:
            raise UsageError("--workers and --chunk-tokens take positive numbers.")
        if self.ray_address and self.executor != "ray":
            raise UsageError("--ray-address needs --executor ray.")
        self.data_folder(host)

    def executor_request(self) -> ExecutorRequest:
        """Return what the run asks of its executor."""
        return ExecutorRequest(self.device, self.workers, self.ray_address)

    def data_folder(self, host: Host) -> str:
        """Return `hub` or the folder behind `data`.

        Raises:
            UsageError: It names neither a data source nor a folder.
        """
        sources = host.offers(DataSource)
        if normalize_name(self.data) == "hub":
            return "hub"
        if normalize_name(self.data) in sources:
            return str(sources[normalize_name(self.data)].record.folder)
        if not Path(self.data).is_dir():
            known = ", ".join(["hub", *sources])
            raise UsageError(f"--data '{self.data}' is no folder and no data source; known sources: {known}.")
        return str(Path(self.data).resolve())

    def notice(self, host: Host) -> str:
        """Return the sentence that every score of this data must carry, or an empty text."""
        source = host.offers(DataSource).get(normalize_name(self.data))
        return source.record.notice if source else ""


def model_reference(model: str | None) -> str:
    """Return the model reference of a plan: the embedded model, whose name ignores case, if none is given."""
    return DEFAULT_MODEL if model is None or normalize_name(model) == DEFAULT_MODEL else model


def default_data(model: str, host: Host) -> str:
    """Return the data source that fits a model: the embedded one for the embedded model or an artifact of it."""
    embedded = base_of(model) == DEFAULT_MODEL and "embedded" in host.offers(DataSource)
    return "embedded" if embedded else "hub"


def base_of(model: str) -> str:
    """Return the reference of the model that an artifact was made from, or that of the model itself."""
    manifest = Path(model) / MANIFEST
    try:
        found = json.loads(manifest.read_text(encoding="utf-8")).get("base_model")
    except (OSError, ValueError, AttributeError):
        return model
    return found if isinstance(found, str) else model


def resolve_plugins(names: Sequence[str], host: Host) -> tuple[str, ...]:
    """Return the canonical quantizer names; `all` stands for every installed one, the baseline is dropped.

    Raises:
        UnknownName: A name is no quantizer.
    """
    chosen: list[str] = []
    for name in names:
        key = normalize_name(name)
        if key == "all":
            chosen += sorted(host.offers(QuantizerRecord))
        elif key != BASELINE:
            chosen.append(normalize_name(host.get(QuantizerRecord, name).name))
    return tuple(dict.fromkeys(chosen))


def check_model(reference: str, host: Host) -> None:
    """Check that some loader claims the reference.

    Raises:
        MissingModel: None does.
    """
    from qharness.errors import MissingModel

    if not any(loader.claims(reference) for loader in host.records(LoaderRecord)):
        names = ", ".join(loader.name for loader in host.records(LoaderRecord))
        raise MissingModel(
            f"No model at '{reference}': it is no folder, file, hub id or embedded model (loaders: {names})."
        )


def is_named(task: TaskSpec, names: Sequence[str]) -> bool:
    """Return whether one of the names is a task's own or that of its data set."""
    own = {normalize_name(task.name), normalize_name(task.dataset)}
    return any(normalize_name(name) in own for name in names)


def tasks_for(evaluator: EvaluatorRecord, suite: Suite) -> tuple[TaskSpec, ...]:
    """Return the tasks of a suite, companions included, that an evaluator measures.

    `decode_ll` takes the MC tasks of the suite itself; every evaluator takes the kinds it names.
    """
    pool = suite.tasks if evaluator.name == "decode_ll" else (*suite.tasks, *suite.companions)
    unique = {task.name: task for task in pool if task.kind in evaluator.kinds}
    return tuple(unique.values())
