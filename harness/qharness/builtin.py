"""The built-in plugin: what the host itself offers, through the same hooks as everyone else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.executors.inline import InlineExecutor
from qharness.executors.local import LocalExecutor
from qharness.records import (
    DoctorCheck,
    EngineRecord,
    EvaluatorRecord,
    ExecutorRecord,
    ExporterRecord,
    LoaderRecord,
    RuntimeTransformRecord,
)

if TYPE_CHECKING:
    from torch import Tensor

    from qharness.engines.base import Engine, EngineRequest
    from qharness.evaluation.base import Evaluation, EvaluationContext
    from qharness.jobs.export import ExportRequest
    from qharness.models.loaded import LoadedModel, LoadRequest
    from qharness.transforms.base import RuntimeTransform
    from qharness.transforms.contract import TransformEntry


def _claims_artifact(reference: str) -> bool:
    from qharness.artifacts.loading import claims

    return claims(reference)


def _load_artifact(request: LoadRequest) -> LoadedModel:
    from qharness.artifacts.loading import load_artifact

    return load_artifact(request)


def _claims_hf(reference: str) -> bool:
    from qharness.models.hub import claims

    return claims(reference)


def _load_hf(request: LoadRequest) -> LoadedModel:
    from qharness.models.hub import load_hf

    return load_hf(request)


def _claims_gguf(reference: str) -> bool:
    return reference.lower().endswith(".gguf")


def _load_gguf(request: LoadRequest) -> LoadedModel:
    from qharness.models.gguf.loading import load_gguf

    return load_gguf(request)


def _create_hf(request: EngineRequest) -> Engine:
    from qharness.engines.hf import create

    return create(request)


def _run_mc(context: EvaluationContext) -> Evaluation:
    from qharness.evaluation.lm_eval_tasks import run_tasks

    return run_tasks(context, "mc")


def _run_gen(context: EvaluationContext) -> Evaluation:
    from qharness.evaluation.lm_eval_tasks import run_tasks

    return run_tasks(context, "gen")


def _run_decode_ll(context: EvaluationContext) -> Evaluation:
    from qharness.evaluation.lm_eval_tasks import run_tasks

    return run_tasks(context, "decode_ll", "decode")


def _run_free(context: EvaluationContext) -> Evaluation:
    from qharness.evaluation.free import run_free

    return run_free(context)


def _run_free_wide(context: EvaluationContext) -> Evaluation:
    from qharness.evaluation.free import run_free_wide

    return run_free_wide(context)


def _run_collapse(context: EvaluationContext) -> Evaluation:
    from qharness.evaluation.collapse import run_collapse

    return run_collapse(context)


def _run_divergence(context: EvaluationContext) -> Evaluation:
    from qharness.evaluation.divergence import run_divergence

    return run_divergence(context)


def _run_perplexity(context: EvaluationContext) -> Evaluation:
    from qharness.evaluation.perplexity import run_perplexity

    return run_perplexity(context)


def _hadamard(entry: TransformEntry, tensors: Mapping[str, Tensor]) -> RuntimeTransform:
    from qharness.transforms.hadamard import HadamardTransform

    return HadamardTransform(entry, tensors)


def _across_heads(entry: TransformEntry, tensors: Mapping[str, Tensor]) -> RuntimeTransform:
    from qharness.transforms.across_heads import AcrossHeads

    return AcrossHeads(entry, tensors)


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the loaders of artifacts, GGUF files and transformers models."""
    yield LoaderRecord("artifact", "Artifacts of qharness", _claims_artifact, _load_artifact, priority=10)
    yield LoaderRecord("gguf", "GGUF files of llama.cpp, dequantized", _claims_gguf, _load_gguf, priority=10)
    yield LoaderRecord("hf", "Folders and hub ids of transformers models", _claims_hf, _load_hf)


@hookimpl
def qharness_runtime_transforms() -> Iterable[RuntimeTransformRecord]:
    """Offer R3, R4 and the Hadamard across heads of SpinQuant and QuaRot, and the randomized Hadamard of QuIP#."""
    yield RuntimeTransformRecord(
        "r3", "Hadamard of queries and keys after RoPE", ("q_post_rope", "k_pre_cache"), _hadamard
    )
    yield RuntimeTransformRecord("r4", "Hadamard of a linear layer's input", ("linear_input",), _hadamard)
    yield RuntimeTransformRecord(
        "across_heads", "Hadamard over the attention heads before o_proj", ("linear_input",), _across_heads
    )
    yield RuntimeTransformRecord(
        "rht", "Randomized Hadamard around a linear layer", ("linear_input", "linear_output"), _hadamard
    )


def _write_plain(request: ExportRequest) -> None:
    from qharness.artifacts.plain import write_plain

    write_plain(request)


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer plain models."""
    yield ExporterRecord("fp16", "A plain float16 model that transformers loads without qharness", (), _write_plain)


@hookimpl
def qharness_engines() -> Iterable[EngineRecord]:
    """Offer the transformers engine."""
    yield EngineRecord("hf", "transformers, with shared prompts and a preallocated key-value cache", _create_hf)


@hookimpl
def qharness_evaluators() -> Iterable[EvaluatorRecord]:
    """Offer the evaluators of multiple choice, generation, the decode path and free generation."""
    yield EvaluatorRecord("mc", "Multiple choice by log-likelihood, in prefill", ("mc",), _run_mc)
    yield EvaluatorRecord("gen", "Greedy generation", ("gen",), _run_gen)
    yield EvaluatorRecord("decode_ll", "Multiple choice, token by token through the cache", ("mc",), _run_decode_ll)
    yield EvaluatorRecord("free", "20 Polish openings continued, judged for degeneration", (), _run_free)
    yield EvaluatorRecord(
        "free_wide", "60 openings, greedy and at 0.7, 256 and 1,024 tokens, judged for degeneration", (), _run_free_wide
    )
    yield EvaluatorRecord(
        "collapse", "The texts of `free`, read by the unquantized model: loops, word salad, language", (), _run_collapse
    )
    yield EvaluatorRecord(
        "perplexity", "Perplexity of text in windows, as GPTQ's authors measure it (--perplexity)", (), _run_perplexity
    )
    yield EvaluatorRecord(
        "divergence", "Divergence from the unquantized model along its own greedy texts", (), _run_divergence
    )


@hookimpl
def qharness_executors() -> Iterable[ExecutorRecord]:
    """Offer the executors of one process and of one machine."""
    yield ExecutorRecord("inline", "One job after the other in this process", InlineExecutor)
    yield ExecutorRecord("local", "A process for each GPU, or single-threaded ones on a CPU", LocalExecutor)


@hookimpl
def qharness_doctor() -> Iterable[DoctorCheck]:
    """Offer checks of the environment."""
    from qharness.doctor import checks

    return checks()
