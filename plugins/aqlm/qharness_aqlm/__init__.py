"""AQLM (Egiazarian et al., arXiv 2401.06118): every eight weights are a sum of learned code words."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.declare import calling, imported
from qharness.records import ExporterRecord, LoaderRecord, QuantizerRecord
from qharness_aqlm.options import Options


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `aqlm`."""
    yield QuantizerRecord(
        name="aqlm",
        summary="Sums of learned code words for groups of weights (additive quantization)",
        paper="Egiazarian et al., AQLM, arXiv 2401.06118",
        options=Options,
        create=calling("qharness_aqlm.quantizer:Aqlm"),
        linear=imported("qharness_aqlm.linear:AdditiveLinear"),
        needs="hessian",
        order="sequential",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.nominal_bits,
    )


def _claims(reference: str) -> bool:
    from qharness.artifacts.public import quantization_of

    return quantization_of(reference).get("quant_method") == "aqlm"


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the loader of public AQLM checkpoints."""
    yield LoaderRecord(
        "aqlm",
        "AQLM checkpoints of other software, decoded",
        _claims,
        calling("qharness_aqlm.loading:load"),
        priority=5,
    )


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer the format of the `aqlm` package and of transformers."""
    yield ExporterRecord(
        "aqlm",
        "Folder that transformers loads with the aqlm package",
        ("aqlm",),
        calling("qharness_aqlm.exporting:write"),
    )
