"""AWQ (Lin et al., arXiv 2306.00978): scale the channels that matter, then round to nearest."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.declare import calling, imported
from qharness.records import QuantizerRecord
from qharness_awq.options import Options


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `awq`."""
    yield QuantizerRecord(
        name="awq",
        summary="Activation-aware scales folded into the layers before, then rounding to nearest",
        paper="Lin et al., AWQ, arXiv 2306.00978",
        options=Options,
        create=calling("qharness_awq.quantizer:Awq"),
        linear=imported("qharness.quantization.grid_linear:GridLinear"),
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )
