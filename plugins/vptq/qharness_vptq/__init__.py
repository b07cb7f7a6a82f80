"""VPTQ (Liu et al., arXiv 2409.17066): vectors of output channels, a learned codebook, and error feedback."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.declare import calling, imported
from qharness.records import ExporterRecord, LoaderRecord, QuantizerRecord
from qharness_vptq.options import Options


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `vptq`."""
    yield QuantizerRecord(
        name="vptq",
        summary="Vector codebooks along the output, Hessian-weighted k-means, error feedback",
        paper="Liu et al., VPTQ, arXiv 2409.17066",
        options=Options,
        create=calling("qharness_vptq.quantizer:Vptq"),
        linear=imported("qharness_vptq.linear:VptqLinear"),
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.nominal_bits,
    )


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the loader of public VPTQ checkpoints."""
    yield LoaderRecord(
        "vptq",
        "Folders in the public VPTQ format",
        calling("qharness_vptq.config:is_public"),
        calling("qharness_vptq.loading:load_public"),
        priority=5,
    )


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer the public VPTQ format."""
    yield ExporterRecord(
        "vptq",
        "VPTQ checkpoints, for the vptq package and transformers",
        ("vptq",),
        calling("qharness_vptq.export:export_public"),
    )
