"""GPTQ (Frantar et al., arXiv 2210.17323), and its public checkpoint formats."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from qharness import hookimpl
from qharness.declare import calling, imported
from qharness.records import ExporterRecord, LoaderRecord, QuantizerRecord
from qharness_gptq.options import Options


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `gptq`."""
    yield QuantizerRecord(
        name="gptq",
        summary="Error feedback on a uniform grid, with a clipping search and refitted scales",
        paper="Frantar et al., GPTQ, arXiv 2210.17323",
        options=Options,
        create=calling("qharness_gptq.quantizer:Gptq"),
        linear=imported("qharness.quantization.grid_linear:GridLinear"),
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer `gptq` and `gptq_v2`, for every artifact of packed grid layers that needs nothing at run time."""
    yield ExporterRecord(
        "gptq",
        "GPTQ checkpoint, zeros stored less one (format 1)",
        (),
        partial(calling("qharness_gptq.export:write_checkpoint"), form="gptq"),
    )
    yield ExporterRecord(
        "gptq_v2",
        "GPTQ checkpoint, zeros stored as they are (format 2)",
        (),
        partial(calling("qharness_gptq.export:write_checkpoint"), form="gptq_v2"),
    )


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the loader of GPTQ checkpoints."""
    yield LoaderRecord(
        "gptq",
        "Checkpoints in the formats gptq and gptq_v2",
        calling("qharness_gptq.checkpoint:claims"),
        calling("qharness_gptq.loading:load_checkpoint"),
        priority=5,
    )
