"""IQ2_XXS, the two-bit type of llama.cpp: our own encoder with error feedback, GGUF export, llama.cpp as an engine."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from qharness import hookimpl
from qharness.declare import calling, imported
from qharness.records import EngineRecord, ExporterRecord, QuantizerRecord
from qharness_iq2_xxs.options import Options


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `iq2_xxs`."""
    yield QuantizerRecord(
        name="iq2_xxs",
        summary="IQ2_XXS blocks of llama.cpp, encoded with error feedback",
        paper="llama.cpp, pull request 4773",
        options=Options,
        create=calling("qharness_iq2_xxs.quantizer:Iq2Xxs"),
        linear=imported("qharness_iq2_xxs.linear:BlockLinear"),
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: 2.0625,
    )


@hookimpl
def qharness_exporters() -> Iterable[ExporterRecord]:
    """Offer GGUF files."""
    takes = ("iq2_xxs",)
    yield ExporterRecord(
        "gguf",
        "A GGUF file for llama.cpp with exactly the artifact's weights",
        takes,
        calling("qharness_iq2_xxs.export:export"),
    )
    yield ExporterRecord(
        "gguf_small",
        "The same with embedding in Q2_K and head in Q5_K",
        takes,
        partial(calling("qharness_iq2_xxs.export:export"), is_small=True),
    )


@hookimpl
def qharness_engines() -> Iterable[EngineRecord]:
    """Offer llama.cpp."""
    yield EngineRecord(
        "llama_cpp", "llama.cpp on a GGUF file, through llama-cpp-python", calling("qharness_iq2_xxs.engine:create")
    )
