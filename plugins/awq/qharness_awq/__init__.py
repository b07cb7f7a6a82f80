"""AWQ (Lin et al., arXiv 2306.00978): scale the channels that matter, then round to nearest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import QuantizerRecord
from qharness_awq.options import Options

if TYPE_CHECKING:
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_awq.quantizer import Awq

    return Awq(options)


def _linear() -> type[QuantizedLinear]:
    from qharness.quantization.grid_linear import GridLinear

    return GridLinear


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `awq`."""
    yield QuantizerRecord(
        name="awq",
        summary="Activation-aware scales folded into the layers before, then rounding to nearest",
        paper="Lin et al., AWQ, arXiv 2306.00978",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )
