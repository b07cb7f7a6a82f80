"""Rounding to nearest, the smallest quantizer: a record, its options, and one method that does the work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import QuantizerRecord

if TYPE_CHECKING:
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


@dataclass(frozen=True)
class Options:
    """What users set with `--set rtn.NAME=VALUE`."""

    bits: int = field(default=2, metadata={"help": "Bits per weight: 2, 3, 4 or 8."})
    group_size: int = field(default=64, metadata={"help": "Weights that share a scale."})
    clip: bool = field(default=False, metadata={"help": "Search the range that clips best."})


def _create(options: Options) -> Quantizer:
    from qharness_rtn.quantizer import RoundToNearest

    return RoundToNearest(options)


def _linear() -> type[QuantizedLinear]:
    from qharness.quantization.grid_linear import GridLinear

    return GridLinear


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `rtn`."""
    yield QuantizerRecord(
        name="rtn",
        summary="Rounding to nearest on a uniform grid; no calibration",
        paper="",
        options=Options,
        create=_create,
        linear=_linear,
        needs="none",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )
