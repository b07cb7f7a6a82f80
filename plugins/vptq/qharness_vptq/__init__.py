"""VPTQ (Liu et al., arXiv 2409.17066): vectors of output channels, a learned codebook, and error feedback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import ExporterRecord, LoaderRecord, QuantizerRecord
from qharness_vptq.options import Options

if TYPE_CHECKING:
    from qharness.jobs.export import ExportRequest
    from qharness.models.loaded import LoadedModel, LoadRequest
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_vptq.quantizer import Vptq

    return Vptq(options)


def _linear() -> type[QuantizedLinear]:
    from qharness_vptq.linear import VptqLinear

    return VptqLinear


def _claims(reference: str) -> bool:
    from qharness_vptq.config import is_public

    return is_public(reference)


def _load(request: LoadRequest) -> LoadedModel:
    from qharness_vptq.loading import load_public

    return load_public(request)


def _export(request: ExportRequest) -> None:
    from qharness_vptq.export import export_public

    export_public(request)


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `vptq`."""
    yield QuantizerRecord(
        name="vptq",
        summary="Vector codebooks along the output, Hessian-weighted k-means, error feedback",
        paper="Liu et al., VPTQ, arXiv 2409.17066",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.nominal_bits,
    )


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the loader of public VPTQ checkpoints."""
    yield LoaderRecord("vptq", "Folders in the public VPTQ format", _claims, _load, priority=5)


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer the public VPTQ format."""
    yield ExporterRecord("vptq", "VPTQ checkpoints, for the vptq package and transformers", ("vptq",), _export)
