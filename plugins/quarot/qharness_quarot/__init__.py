"""QuaRot (Ashkboos et al., arXiv 2404.00456): outliers rotated away by Hadamards that nobody learned, then GPTQ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import QuantizerRecord
from qharness_quarot.options import Options

if TYPE_CHECKING:
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_quarot.quantizer import QuaRot

    return QuaRot(options)


def _linear() -> type[QuantizedLinear]:
    from qharness.quantization.grid_linear import GridLinear

    return GridLinear


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `quarot`."""
    yield QuantizerRecord(
        name="quarot",
        summary="Random Hadamard rotations, online Hadamards before o_proj and down_proj, and GPTQ",
        paper="Ashkboos et al., QuaRot, arXiv 2404.00456",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )
