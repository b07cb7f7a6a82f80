"""QuIP# (Tseng et al., arXiv 2402.04396): randomized Hadamards around linears, and a lattice code of their weights."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.artifacts.public import section_of
from qharness.declare import calling, imported
from qharness.records import ExporterRecord, LoaderRecord, QuantizerRecord
from qharness_quip_sharp.options import Options


def claims(reference: str) -> bool:
    """Return whether a reference is a folder of this method's authors."""
    return str(section_of(reference, "quip_params").get("codebook")).startswith("E8P12")


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the public checkpoints of QuIP#."""
    yield LoaderRecord(
        "quip_sharp",
        "Public QuIP# checkpoints (quip_params), dense",
        claims,
        calling("qharness_quip_sharp.loading:load_public"),
        priority=10,
    )


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer the public layout of QuIP#."""
    yield ExporterRecord(
        "quip",
        "Public QuIP# checkpoint (quip_params)",
        ("quip_sharp",),
        calling("qharness_quip_sharp.exporting:write_public"),
    )


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `quip_sharp`."""
    yield QuantizerRecord(
        name="quip_sharp",
        summary="Randomized Hadamards, BlockLDLQ and the E8P lattice code",
        paper="Tseng et al., QuIP#, arXiv 2402.04396",
        options=Options,
        create=calling("qharness_quip_sharp.quantizer:QuipSharp"),
        linear=imported("qharness_quip_sharp.linear:LatticeLinear"),
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: float(options.bits),
    )
