"""GPTQ (Frantar et al., arXiv 2210.17323), and its public checkpoint formats."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import ExporterRecord, LoaderRecord, QuantizerRecord
from qharness_gptq.options import Options

if TYPE_CHECKING:
    from qharness.jobs.export import ExportRequest
    from qharness.models.loaded import LoadedModel, LoadRequest
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_gptq.quantizer import Gptq

    return Gptq(options)


def _linear() -> type[QuantizedLinear]:
    from qharness.quantization.grid_linear import GridLinear

    return GridLinear


def _write_v1(request: ExportRequest) -> None:
    from qharness_gptq.export import write_checkpoint

    write_checkpoint(request, "gptq")


def _write_v2(request: ExportRequest) -> None:
    from qharness_gptq.export import write_checkpoint

    write_checkpoint(request, "gptq_v2")


def _claims(reference: str) -> bool:
    from qharness_gptq.checkpoint import claims

    return claims(reference)


def _load(request: LoadRequest) -> LoadedModel:
    from qharness_gptq.loading import load_checkpoint

    return load_checkpoint(request)


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `gptq`."""
    yield QuantizerRecord(
        name="gptq",
        summary="Error feedback on a uniform grid, with a clipping search and refitted scales",
        paper="Frantar et al., GPTQ, arXiv 2210.17323",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer `gptq` and `gptq_v2`, for every artifact of packed grid layers that needs nothing at run time."""
    yield ExporterRecord("gptq", "GPTQ checkpoint, zeros stored less one (format 1)", (), _write_v1)
    yield ExporterRecord("gptq_v2", "GPTQ checkpoint, zeros stored as they are (format 2)", (), _write_v2)


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the loader of GPTQ checkpoints."""
    yield LoaderRecord("gptq", "Checkpoints in the formats gptq and gptq_v2", _claims, _load, priority=5)
