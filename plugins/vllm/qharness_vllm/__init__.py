"""vLLM (Kwon et al., arXiv 2309.06180) as an engine."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.declare import calling
from qharness.records import EngineRecord


@hookimpl
def qharness_engines() -> Iterable[EngineRecord]:
    """Offer `vllm`."""
    yield EngineRecord(
        name="vllm",
        summary="vLLM: paged key-value cache and continuous batching",
        create=calling("qharness_vllm.engine:create"),
    )
