"""IQ2_XXS, the two-bit type of llama.cpp: our own encoder with error feedback, GGUF export, llama.cpp as an engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import QuantizerRecord
from qharness_iq2_xxs.options import Options

if TYPE_CHECKING:
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_iq2_xxs.quantizer import Iq2Xxs

    return Iq2Xxs(options)


def _linear() -> type[QuantizedLinear]:
    from qharness_iq2_xxs.linear import BlockLinear

    return BlockLinear


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `iq2_xxs`."""
    yield QuantizerRecord(
        name="iq2_xxs",
        summary="IQ2_XXS blocks of llama.cpp, encoded with error feedback",
        paper="llama.cpp, pull request 4773",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: 2.0625,
    )
