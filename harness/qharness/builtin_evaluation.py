"""The engine, evaluators, executor and loader that qharness itself offers for evaluation, through the same hooks as any plugin."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qharness import hookimpl
from qharness.executors.inline import InlineExecutor
from qharness.records import EngineRecord, EvaluatorRecord, ExecutorRecord, LoaderRecord

if TYPE_CHECKING:
    from collections.abc import Callable


def _late(module: str, name: str) -> Callable[..., Any]:
    """Return a callable that imports its module when it is called, so that listing records stays quick."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(module), name)(*arguments)

    return call


@hookimpl
def qharness_engines() -> Iterable[EngineRecord]:
    """Offer the transformers engine."""
    yield EngineRecord("hf", "transformers: prefix trees, key-value slots", _late("qharness.engines.hf", "create"))


@hookimpl
def qharness_evaluators() -> Iterable[EvaluatorRecord]:
    """Offer the four evaluators."""
    tasks = "qharness.evaluation.evaluators"
    yield EvaluatorRecord("mc", "multiple choice by prefill log-likelihood", ("mc",), _late(tasks, "run_mc"))
    yield EvaluatorRecord("gen", "greedy generation through the cache", ("gen",), _late(tasks, "run_gen"))
    yield EvaluatorRecord("decode_ll", "multiple choice, token by token", ("mc",), _late(tasks, "run_decode_ll"))
    yield EvaluatorRecord("free", "20 Polish openings, degeneration", (), _late("qharness.evaluation.free", "run_free"))


@hookimpl
def qharness_executors() -> Iterable[ExecutorRecord]:
    """Offer the executor of one process."""
    yield ExecutorRecord("inline", "one job after the other in this process", InlineExecutor)


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the loader of GGUF files."""
    from qharness.models.gguf import claims

    yield LoaderRecord("gguf", "GGUF files of llama.cpp", claims, _late("qharness.models.gguf.load", "load"), priority=10)
