"""SpinQuant (Liu et al., arXiv 2405.16406): rotations learned so that a model survives quantization, then GPTQ."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.declare import calling, imported
from qharness.records import QuantizerRecord
from qharness_spinquant.options import Options


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `spinquant`."""
    yield QuantizerRecord(
        name="spinquant",
        summary="Learned rotations R1, R2, online Hadamards R3, R4, and GPTQ",
        paper="Liu et al., SpinQuant, arXiv 2405.16406",
        options=Options,
        create=calling("qharness_spinquant.quantizer:SpinQuant"),
        linear=imported("qharness.quantization.grid_linear:GridLinear"),
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )
