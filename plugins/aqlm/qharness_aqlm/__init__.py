"""AQLM (Egiazarian et al., arXiv 2401.06118): every eight weights are a sum of learned code words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import ExporterRecord, LoaderRecord, QuantizerRecord
from qharness_aqlm.options import Options

if TYPE_CHECKING:
    from qharness.jobs.export import ExportRequest
    from qharness.models.loaded import LoadedModel, LoadRequest
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_aqlm.quantizer import Aqlm

    return Aqlm(options)


def _linear() -> type[QuantizedLinear]:
    from qharness_aqlm.linear import AdditiveLinear

    return AdditiveLinear


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `aqlm`."""
    yield QuantizerRecord(
        name="aqlm",
        summary="Sums of learned code words for groups of weights (additive quantization)",
        paper="Egiazarian et al., AQLM, arXiv 2401.06118",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="sequential",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.nominal_bits,
    )


def _claims(reference: str) -> bool:
    from qharness.artifacts.public import quantization_of

    return quantization_of(reference).get("quant_method") == "aqlm"


def _load(request: LoadRequest) -> LoadedModel:
    from qharness_aqlm.loading import load

    return load(request)


def _export(request: ExportRequest) -> None:
    from qharness_aqlm.exporting import write

    write(request)


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the loader of public AQLM checkpoints."""
    yield LoaderRecord("aqlm", "AQLM checkpoints of other software, decoded", _claims, _load, priority=5)


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer the format of the `aqlm` package and of transformers."""
    yield ExporterRecord("aqlm", "Folder that transformers loads with the aqlm package", ("aqlm",), _export)
