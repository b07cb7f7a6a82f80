"""QuaRot (Ashkboos et al., arXiv 2404.00456): outliers rotated away by Hadamards that nobody learned, then GPTQ."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.declare import calling, imported
from qharness.records import QuantizerRecord
from qharness_quarot.options import Options


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `quarot`."""
    yield QuantizerRecord(
        name="quarot",
        summary="Random Hadamard rotations, online Hadamards before o_proj and down_proj, and GPTQ",
        paper="Ashkboos et al., QuaRot, arXiv 2404.00456",
        options=Options,
        create=calling("qharness_quarot.quantizer:QuaRot"),
        linear=imported("qharness.quantization.grid_linear:GridLinear"),
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )
