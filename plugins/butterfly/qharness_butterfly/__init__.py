"""ButterflyQuant (arXiv 2509.09679), re-implemented: learned butterfly rotations of every linear's input, two bits."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.declare import calling, imported
from qharness.records import QuantizerRecord, RuntimeTransformRecord
from qharness_butterfly.options import E8pOptions, Options


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `butterfly` and `butterfly_e8p`."""
    yield QuantizerRecord(
        name="butterfly",
        summary="Learned butterfly rotations and uniform levels (a re-implementation of ButterflyQuant)",
        paper="ButterflyQuant, arXiv 2509.09679",
        options=Options,
        create=calling("qharness_butterfly.quantizer:ButterflyQuant"),
        linear=imported("qharness.quantization.grid_linear:GridLinear"),
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )
    yield QuantizerRecord(
        name="butterfly_e8p",
        summary="Learned butterfly rotations and the E8P code book of QuIP#",
        paper="ButterflyQuant, arXiv 2509.09679; QuIP#, arXiv 2402.04396",
        options=E8pOptions,
        create=calling("qharness_butterfly.e8p:ButterflyE8p"),
        linear=imported("qharness_quip_sharp.linear:LatticeLinear"),
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: 2.0,
    )


@hookimpl
def qharness_runtime_transforms() -> Iterable[RuntimeTransformRecord]:
    """Offer the butterfly of a linear's input."""
    yield RuntimeTransformRecord(
        "butterfly",
        "Butterfly of a linear layer's input",
        ("linear_input",),
        calling("qharness_butterfly.transform:ButterflyTransform"),
    )
