"""The hooks of qharness. A plugin implements any of them with `qharness.hookimpl`.

A plugin is a module (or object) behind an entry point of the group `qharness`; the entry's name is the
plugin's name. Importing it must not import torch: the callables of the records do that when they are called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qharness import hookspec

if TYPE_CHECKING:
    from qharness import records


@hookspec
def qharness_quantizers() -> Iterable[records.QuantizerRecord]:  # type: ignore[empty-body]
    """Offer quantization methods.

    Returns:
        Records, one per method.

    Example:
        ```python
        @hookimpl
        def qharness_quantizers():
            yield QuantizerRecord(name="mymethod", summary="...", paper="arXiv ...", options=Options,
                                  create=create, linear=linear, needs="hessian", order="independent",
                                  architectures=("llama", "mistral"), nominal_bits=lambda options: options.bits)
        ```
    """


@hookspec
def qharness_loaders() -> Iterable[records.LoaderRecord]:  # type: ignore[empty-body]
    """Offer loaders of model references.

    Example:
        ```python
        @hookimpl
        def qharness_loaders():
            yield LoaderRecord(name="gguf", summary="GGUF files", claims=lambda ref: ref.endswith(".gguf"), load=load)
        ```
    """


@hookspec
def qharness_runtime_transforms() -> Iterable[records.RuntimeTransformRecord]:  # type: ignore[empty-body]
    """Offer online operations that artifacts may require.

    Example:
        ```python
        @hookimpl
        def qharness_runtime_transforms():
            yield RuntimeTransformRecord(name="r4", summary="...", sites=("linear_input",), create=LinearInput)
        ```
    """


@hookspec
def qharness_evaluators() -> Iterable[records.EvaluatorRecord]:  # type: ignore[empty-body]
    """Offer evaluators.

    Example:
        ```python
        @hookimpl
        def qharness_evaluators():
            yield EvaluatorRecord(name="length", summary="...", kinds=("gen",), run=run)
        ```
    """


@hookspec
def qharness_suites() -> Iterable[records.Suite]:  # type: ignore[empty-body]
    """Offer suites of tasks.

    Example:
        ```python
        @hookimpl
        def qharness_suites():
            yield Suite(name="mine", summary="...", tasks=(TaskSpec(...),), load_tasks=load_tasks,
                        constant_predictor=constant_predictor)
        ```
    """


@hookspec
def qharness_data_sources() -> Iterable[records.DataSource]:  # type: ignore[empty-body]
    """Offer named places of benchmark data.

    Example:
        ```python
        @hookimpl
        def qharness_data_sources():
            yield DataSource(name="embedded", summary="...", folder=DATA, notice="embedded data: not the leaderboard")
        ```
    """


@hookspec
def qharness_text_sources() -> Iterable[records.TextSource]:  # type: ignore[empty-body]
    """Offer named sources of calibration text.

    Example:
        ```python
        @hookimpl
        def qharness_text_sources():
            yield TextSource(name="demo", summary="...", texts=lambda seed: generate(seed))
        ```
    """


@hookspec
def qharness_engines() -> Iterable[records.EngineRecord]:  # type: ignore[empty-body]
    """Offer engines.

    Example:
        ```python
        @hookimpl
        def qharness_engines():
            yield EngineRecord(name="hf", summary="transformers", create=create)
        ```
    """


@hookspec
def qharness_executors() -> Iterable[records.ExecutorRecord]:  # type: ignore[empty-body]
    """Offer executors.

    Example:
        ```python
        @hookimpl
        def qharness_executors():
            yield ExecutorRecord(name="inline", summary="this process", create=InlineExecutor)
        ```
    """


@hookspec
def qharness_report_sections() -> Iterable[records.ReportSection]:  # type: ignore[empty-body]
    """Offer sections of the report.

    Example:
        ```python
        @hookimpl
        def qharness_report_sections():
            yield ReportSection(name="flips", title="Flips", render=lambda comparison: "<p>...</p>")
        ```
    """


@hookspec
def qharness_report_writers() -> Iterable[records.ReportWriter]:  # type: ignore[empty-body]
    """Offer formats of the report.

    Example:
        ```python
        @hookimpl
        def qharness_report_writers():
            yield ReportWriter(name="html", summary="One offline HTML file", write=write_report)
        ```
    """


@hookspec
def qharness_exporters() -> Iterable[records.ExporterRecord]:  # type: ignore[empty-body]
    """Offer formats of other software that artifacts are exported to.

    Example:
        ```python
        @hookimpl
        def qharness_exporters():
            yield ExporterRecord(name="aqlm", summary="Format of the aqlm package", plugins=("aqlm",), write=write)
        ```
    """


@hookspec
def qharness_run_started(run: Mapping[str, Any]) -> None:
    """Observe the start of a run; `run` is the content of run.json.

    Example:
        ```python
        @hookimpl
        def qharness_run_started(run):
            print("started", run["run_id"])
        ```
    """


@hookspec
def qharness_job_finished(run: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Observe the end of a job: `job` has plugin, ablation, stage, status, seconds and error.

    Example:
        ```python
        @hookimpl
        def qharness_job_finished(run, job):
            print(job["plugin"], job["status"])
        ```
    """


@hookspec
def qharness_run_finished(run: Mapping[str, Any]) -> None:
    """Observe the end of a run.

    Example:
        ```python
        @hookimpl
        def qharness_run_finished(run):
            print("finished", run["run_id"])
        ```
    """


@hookspec
def qharness_doctor() -> Iterable[records.DoctorCheck]:  # type: ignore[empty-body]
    """Offer checks of the environment.

    Example:
        ```python
        @hookimpl
        def qharness_doctor():
            yield DoctorCheck(name="gpu", run=lambda: CheckResult(ok=True, detail="one GPU"))
        ```
    """
