"""The built-in plugin: what the host itself offers, through the same hooks as everyone else."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from qharness import hookimpl
from qharness.declare import calling, imported
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


def _claims_gguf(reference: str) -> bool:
    return reference.lower().endswith(".gguf")


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the loaders of artifacts, GGUF files and transformers models."""
    yield LoaderRecord(
        "artifact",
        "Artifacts of qharness",
        calling("qharness.artifacts.loading:claims"),
        calling("qharness.artifacts.loading:load_artifact"),
        priority=10,
    )
    yield LoaderRecord(
        "gguf",
        "GGUF files of llama.cpp, dequantized",
        _claims_gguf,
        calling("qharness.models.gguf.loading:load_gguf"),
        priority=10,
    )
    yield LoaderRecord(
        "hf",
        "Folders and hub ids of transformers models",
        calling("qharness.models.hub:claims"),
        calling("qharness.models.hub:load_hf"),
    )


@hookimpl
def qharness_runtime_transforms() -> Iterable[RuntimeTransformRecord]:
    """Offer R3, R4 and the Hadamard across heads of SpinQuant and QuaRot, and the randomized Hadamard of QuIP#."""
    yield RuntimeTransformRecord(
        "r3",
        "Hadamard of queries and keys after RoPE",
        ("q_post_rope", "k_pre_cache"),
        calling("qharness.transforms.hadamard:HadamardTransform"),
    )
    yield RuntimeTransformRecord(
        "r4",
        "Hadamard of a linear layer's input",
        ("linear_input",),
        calling("qharness.transforms.hadamard:HadamardTransform"),
    )
    yield RuntimeTransformRecord(
        "across_heads",
        "Hadamard over the attention heads before o_proj",
        ("linear_input",),
        calling("qharness.transforms.across_heads:AcrossHeads"),
    )
    yield RuntimeTransformRecord(
        "rht",
        "Randomized Hadamard around a linear layer",
        ("linear_input", "linear_output"),
        calling("qharness.transforms.hadamard:HadamardTransform"),
    )


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer plain models."""
    yield ExporterRecord(
        "fp16",
        "A plain float16 model that transformers loads without qharness",
        (),
        calling("qharness.artifacts.plain:write_plain"),
    )
    yield ExporterRecord(
        "fp32",
        "The same in float32: twice the size, the artifact's logits to rounding of float32",
        (),
        partial(calling("qharness.artifacts.plain:write_plain"), dtype="float32"),
    )


@hookimpl
def qharness_engines() -> Iterable[EngineRecord]:
    """Offer the transformers engine."""
    yield EngineRecord(
        "hf",
        "transformers, with shared prompts and a preallocated key-value cache",
        calling("qharness.engines.hf:create"),
    )


@hookimpl
def qharness_evaluators() -> Iterable[EvaluatorRecord]:
    """Offer the evaluators of multiple choice, generation, the decode path and free generation."""
    yield EvaluatorRecord(
        "mc",
        "Multiple choice by log-likelihood, in prefill",
        ("mc",),
        partial(calling("qharness.evaluation.lm_eval_tasks:run_tasks"), evaluator="mc"),
    )
    yield EvaluatorRecord(
        "gen",
        "Greedy generation",
        ("gen",),
        partial(calling("qharness.evaluation.lm_eval_tasks:run_tasks"), evaluator="gen"),
    )
    yield EvaluatorRecord(
        "decode_ll",
        "Multiple choice, token by token through the cache",
        ("mc",),
        partial(calling("qharness.evaluation.lm_eval_tasks:run_tasks"), evaluator="decode_ll", path="decode"),
    )
    yield EvaluatorRecord(
        "free",
        "20 Polish openings continued, judged for degeneration",
        (),
        calling("qharness.evaluation.free:run_free"),
    )
    yield EvaluatorRecord(
        "free_wide",
        "60 openings, greedy and at 0.7, 256 and 1,024 tokens, judged for degeneration",
        (),
        calling("qharness.evaluation.free:run_free_wide"),
        lambda texts: [setting.task for setting in imported("qharness.evaluation.free:SETTINGS")()],
    )
    yield EvaluatorRecord(
        "collapse",
        "The texts of `free`, read by the unquantized model: loops, word salad, language",
        (),
        calling("qharness.evaluation.collapse:run_collapse"),
    )
    yield EvaluatorRecord(
        "perplexity",
        "Perplexity of text in windows, as GPTQ's authors measure it (--perplexity)",
        (),
        calling("qharness.evaluation.perplexity:run_perplexity"),
        lambda texts: texts,
    )
    yield EvaluatorRecord(
        "divergence",
        "Divergence from the unquantized model along its own greedy texts",
        (),
        calling("qharness.evaluation.divergence:run_divergence"),
    )


@hookimpl
def qharness_executors() -> Iterable[ExecutorRecord]:
    """Offer the executors of one process, of one machine and of a Ray cluster."""
    yield ExecutorRecord("inline", "One job after the other in this process", InlineExecutor)
    yield ExecutorRecord("local", "A process for each GPU, or single-threaded ones on a CPU", LocalExecutor)
    yield ExecutorRecord(
        "ray",
        "Actors of a Ray cluster, with a GPU each or a share of the cores",
        calling("qharness.executors.ray:RayExecutor"),
        calling("qharness.executors.ray:check"),
        is_remote=True,
    )


@hookimpl
def qharness_doctor() -> Iterable[DoctorCheck]:
    """Offer checks of the environment."""
    from qharness.doctor import checks

    return checks()
