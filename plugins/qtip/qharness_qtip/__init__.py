"""QTIP (Tseng et al., arXiv 2406.11235): a trellis code for incoherent weights, rounded with block LDLQ."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.artifacts.public import section_of
from qharness.declare import calling, imported
from qharness.records import ExporterRecord, LoaderRecord, QuantizerRecord
from qharness_qtip.options import Options


def claims(reference: str) -> bool:
    """Return whether a reference is a folder of this method's authors."""
    return section_of(reference, "quip_params").get("codebook") == "bitshift"


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the published checkpoints of QTIP."""
    yield LoaderRecord(
        "qtip",
        "Published QTIP checkpoints (quip_params), dense",
        claims,
        calling("qharness_qtip.loading:load_public"),
        priority=10,
    )


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer the published layout of QTIP."""
    yield ExporterRecord(
        "qtip",
        "Published QTIP checkpoint (quip_params)",
        ("qtip",),
        calling("qharness_qtip.exporting:write_public"),
    )


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `qtip`."""
    yield QuantizerRecord(
        name="qtip",
        summary="Randomized Hadamards and a tail-biting trellis code with LDLQ",
        paper="Tseng et al., QTIP, arXiv 2406.11235",
        options=Options,
        create=calling("qharness_qtip.quantizer:Qtip"),
        linear=imported("qharness_qtip.linear:TrellisLinear"),
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: float(options.bits),
    )
