"""SpinQuant (Liu et al., arXiv 2405.16406): rotations learned so that a model survives quantization, then GPTQ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import QuantizerRecord
from qharness_spinquant.options import Options

if TYPE_CHECKING:
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_spinquant.quantizer import SpinQuant

    return SpinQuant(options)


def _linear() -> type[QuantizedLinear]:
    from qharness.quantization.grid_linear import GridLinear

    return GridLinear


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `spinquant`."""
    yield QuantizerRecord(
        name="spinquant",
        summary="Learned rotations R1, R2, online Hadamards R3, R4, and GPTQ",
        paper="Liu et al., SpinQuant, arXiv 2405.16406",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )
