"""IQ2_XXS, the two-bit type of llama.cpp: our own encoder with error feedback, GGUF export, llama.cpp as an engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import EngineRecord, ExporterRecord, QuantizerRecord
from qharness_iq2_xxs.options import Options

if TYPE_CHECKING:
    from qharness.engines.base import Engine, EngineRequest
    from qharness.jobs.export import ExportRequest
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_iq2_xxs.quantizer import Iq2Xxs

    return Iq2Xxs(options)


def _linear() -> type[QuantizedLinear]:
    from qharness_iq2_xxs.linear import BlockLinear

    return BlockLinear


def _export(request: ExportRequest) -> None:
    from qharness_iq2_xxs.export import export

    export(request)


def _export_small(request: ExportRequest) -> None:
    from qharness_iq2_xxs.export import export

    export(request, is_small=True)


def _engine(request: EngineRequest) -> Engine:
    from qharness_iq2_xxs.engine import create

    return create(request)


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `iq2_xxs`."""
    yield QuantizerRecord(
        name="iq2_xxs",
        summary="IQ2_XXS blocks of llama.cpp, encoded with error feedback",
        paper="llama.cpp, pull request 4773",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: 2.0625,
    )


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer GGUF files."""
    takes = ("iq2_xxs",)
    yield ExporterRecord("gguf", "A GGUF file for llama.cpp with exactly the artifact's weights", takes, _export)
    yield ExporterRecord("gguf_small", "The same with embedding in Q2_K and head in Q5_K", takes, _export_small)


@hookimpl
def qharness_engines() -> Iterable[EngineRecord]:
    """Offer llama.cpp."""
    yield EngineRecord("llama_cpp", "llama.cpp on a GGUF file, through llama-cpp-python", _engine)
