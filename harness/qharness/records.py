"""Typed records: what plugins hand to the host through the hooks of `qharness.hookspecs`.

Every record is frozen and cheap: callables inside it import what they need when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from qharness.engines.base import Engine, EngineRequest
    from qharness.evaluation.base import Evaluation, EvaluationContext
    from qharness.executors.base import Executor, ExecutorRequest
    from qharness.jobs.export import ExportRequest
    from qharness.models.loaded import LoadedModel, LoadRequest
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear
    from qharness.transforms.base import RuntimeTransform

Kind = Literal["mc", "gen"]


@dataclass(frozen=True)
class QuantizerRecord:
    """A quantization method.

    Attributes:
        name: Name typed by users (`--plugin NAME`).
        summary: One line for `qharness plugins`.
        paper: Citation or identifier of the source; empty for baselines.
        options: Frozen dataclass type of the method's options; every field has a default and a
            `metadata={"help": ...}` entry. Users set them with `--set NAME.OPTION=VALUE`.
        create: Builds the quantizer from an instance of `options`.
        linear: Returns the `QuantizedLinear` class that reads this method's tensors back.
        needs: What calibration it wants: second moments of the inputs, raw inputs, or nothing.
        order: `sequential` if block i+1 is calibrated behind the quantized block i.
        architectures: `model_type` values of the configurations it knows.
        nominal_bits: Bits per weight of the code alone, from an instance of `options`.
    """

    name: str
    summary: str
    paper: str
    options: type
    create: Callable[[Any], Quantizer]
    linear: Callable[[], type[QuantizedLinear]]
    needs: Literal["hessian", "inputs", "none"]
    order: Literal["independent", "sequential"]
    architectures: tuple[str, ...]
    nominal_bits: Callable[[Any], float]


@dataclass(frozen=True)
class LoaderRecord:
    """Loads a model reference.

    Attributes:
        name: Name of the loader.
        summary: One line for `qharness plugins`.
        claims: Whether this loader can load the reference; must be cheap and import nothing heavy.
        load: Loads it.
        priority: Loaders are asked from the highest priority down.
    """

    name: str
    summary: str
    claims: Callable[[str], bool]
    load: Callable[[LoadRequest], LoadedModel]
    priority: int = 0


@dataclass(frozen=True)
class RuntimeTransformRecord:
    """An online operation that an artifact may need at inference.

    Attributes:
        name: Name used in artifacts and by `--ablate NAME`.
        summary: One line for `qharness plugins`.
        sites: Where it attaches: `linear_input`, `linear_output`, `q_post_rope`, `k_pre_cache`.
        create: Builds the transform from its contract entry and its tensors.
    """

    name: str
    summary: str
    sites: tuple[str, ...]
    create: Callable[..., RuntimeTransform]


@dataclass(frozen=True)
class EvaluatorRecord:
    """Something that measures a model.

    Attributes:
        name: Name of the evaluator (`mc`, `gen`, `decode_ll`, `free`, ...).
        summary: One line for `qharness plugins`.
        kinds: Kinds of tasks it takes; empty if it brings its own prompts.
        run: Measures one model and returns samples and results.
        parts: Names under which an evaluator with prompts of its own stores its work, from the texts of
            `--perplexity`; each is a step of its own, named in the context. Its own name alone when None.
    """

    name: str
    summary: str
    kinds: tuple[Kind, ...]
    run: Callable[[EvaluationContext], Evaluation]
    parts: Callable[[Sequence[str]], Sequence[str]] | None = None


@dataclass(frozen=True)
class TaskSpec:
    """One task of a suite.

    Attributes:
        name: Name of the lm-eval task.
        short: Short name of reports (`8tags_mc`).
        kind: `mc` (log-likelihood of choices) or `gen` (greedy generation).
        dataset: Folder name of its data: the last part of the hub id.
        hub_id: Data set on the Hugging Face hub.
        metric: Metric of the leaderboard.
        filter: lm-eval filter of that metric (`none`, `score-first`).
        baseline: Official baseline of the leaderboard as a fraction, or None.
        sibling: Task of the other kind on the same documents.
        paired: Its text-answer variant.
        cluster: Column of the document that groups dependent documents.
        is_official: Whether the leaderboard has it.
        scale: What the metric's value is divided by to be a fraction (100 for EQ-Bench).
        needs_own_data: Whether nobody may hand its data out: where they are absent the task is skipped, which is no
            failure of the run.
    """

    name: str
    short: str
    kind: Kind
    dataset: str
    hub_id: str
    metric: str
    filter: str = "none"
    baseline: float | None = None
    sibling: str | None = None
    paired: str | None = None
    cluster: str | None = None
    is_official: bool = True
    scale: float = 1.0
    needs_own_data: bool = False


@dataclass(frozen=True)
class Suite:
    """A set of tasks.

    Attributes:
        name: Name typed by users (`--suite NAME`).
        summary: One line for `qharness suites`.
        tasks: Its tasks, in the order of reports.
        companions: Tasks that run along as evidence for the verdict and are not averaged.
        load_tasks: Given lm-eval task names and a data source (`hub` or a folder), returns lm-eval
            task objects by name.
        num_fewshot: Default number of shots.
        constant_predictor: Best constant predictor's score from the gold answers and a metric name.
        normalized: Leaderboard normalisation in percent of (value, baseline), both fractions.
    """

    name: str
    summary: str
    tasks: tuple[TaskSpec, ...]
    load_tasks: Callable[[Sequence[str], str | Path], Mapping[str, Any]]
    constant_predictor: Callable[[Sequence[Any], str], float]
    companions: tuple[TaskSpec, ...] = ()
    num_fewshot: int = 5
    normalized: Callable[[float, float], float] = field(default=lambda value, base: (value - base) / (1 - base) * 100)


@dataclass(frozen=True)
class DataSource:
    """A named place of benchmark data, for `--data NAME`.

    Attributes:
        name: Name typed by users.
        summary: One line for `qharness suites`.
        folder: One sub-folder per data set, one JSON-lines or parquet file per split; None for the hub.
        notice: Sentence that every place showing its scores must carry; empty for official data.
    """

    name: str
    summary: str
    folder: Path | None
    notice: str = ""


@dataclass(frozen=True)
class TextSource:
    """A named source of calibration text, for `--text NAME`.

    Attributes:
        name: Name typed by users.
        summary: One line for `qharness plugins`.
        texts: Yields texts from a seed, the same ones for the same seed; may be endless.
    """

    name: str
    summary: str
    texts: Callable[[int], Iterable[str]]


@dataclass(frozen=True)
class EngineRecord:
    """What executes a model: builds an `Engine` from a loaded model or an artifact."""

    name: str
    summary: str
    create: Callable[[EngineRequest], Engine]


@dataclass(frozen=True)
class ExecutorRecord:
    """Where jobs run.

    Attributes:
        name: Name typed by users (`--executor NAME`).
        summary: One line for `qharness plugins`.
        create: Builds the executor from what the run asks for.
        check: Raises a UsageError if it cannot be had here or cannot do what is asked; called before anything is
            written.
        is_remote: Whether its workers may have devices that this machine lacks.
    """

    name: str
    summary: str
    create: Callable[[ExecutorRequest], Executor]
    check: Callable[[ExecutorRequest], None] = lambda request: None
    is_remote: bool = False


@dataclass(frozen=True)
class ReportSection:
    """A section that a third party adds to the report.

    Attributes:
        name: Anchor of the section.
        title: Heading.
        render: Returns an HTML fragment (trusted: the plugin escapes) from the comparison as plain data.
        order: Sections are sorted by it; the built-in ones use 0 to 100.
    """

    name: str
    title: str
    render: Callable[[Mapping[str, Any]], str]
    order: int = 200


@dataclass(frozen=True)
class ReportWriter:
    """Writes a report file.

    Attributes:
        name: Format, for example `html`.
        summary: One line for `qharness plugins`.
        write: Writes the comparison (plain data of `qharness.results.comparison`) and third-party sections to a
            path, by temp file and rename.
    """

    name: str
    summary: str
    write: Callable[[Mapping[str, Any], Path, Sequence[ReportSection]], None]


@dataclass(frozen=True)
class ExporterRecord:
    """Writes an artifact in a format that other software reads (`qharness export --format NAME`).

    Attributes:
        name: Format, for example `fp16` or `aqlm`.
        summary: One line for `qharness plugins`.
        plugins: Quantizers whose artifacts it takes; empty for all.
        write: Writes into `request.out`, a new empty folder that the host renames to its final name afterwards;
            a single-file format writes one file there.
    """

    name: str
    summary: str
    plugins: tuple[str, ...]
    write: Callable[[ExportRequest], None]


@dataclass(frozen=True)
class CheckResult:
    """Outcome of a doctor check: `ok`, a sentence, and the remedy if it failed."""

    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class DoctorCheck:
    """A check of the environment."""

    name: str
    run: Callable[[], CheckResult]


Record = (
    QuantizerRecord
    | LoaderRecord
    | RuntimeTransformRecord
    | EvaluatorRecord
    | Suite
    | DataSource
    | TextSource
    | EngineRecord
    | ExecutorRecord
    | ReportSection
    | ReportWriter
    | ExporterRecord
    | DoctorCheck
)
Records = Iterable[Record]
