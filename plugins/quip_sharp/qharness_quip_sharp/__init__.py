"""QuIP# (Tseng et al., arXiv 2402.04396): randomized Hadamards around linears, and a lattice code of their weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import QuantizerRecord
from qharness_quip_sharp.options import Options

if TYPE_CHECKING:
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_quip_sharp.quantizer import QuipSharp

    return QuipSharp(options)


def _linear() -> type[QuantizedLinear]:
    from qharness_quip_sharp.linear import LatticeLinear

    return LatticeLinear


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `quip_sharp`."""
    yield QuantizerRecord(
        name="quip_sharp",
        summary="Randomized Hadamards, BlockLDLQ and the E8P lattice code",
        paper="Tseng et al., QuIP#, arXiv 2402.04396",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: float(options.bits),
    )
