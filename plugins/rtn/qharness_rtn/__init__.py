"""Rounding to nearest, the smallest quantizer: a record, its options, and one method that does the work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qharness import hookimpl
from qharness.declare import calling, imported, option
from qharness.records import QuantizerRecord


@dataclass(frozen=True)
class Options:
    """What users set with `--set rtn.NAME=VALUE`."""

    bits: int = option(2, "Bits per weight: 2, 3, 4 or 8.")
    group_size: int = option(64, "Weights that share a scale.")
    clip: bool = option(False, "Search the range that clips best.")


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `rtn`."""
    yield QuantizerRecord(
        name="rtn",
        summary="Rounding to nearest on a uniform grid; no calibration",
        paper="",
        options=Options,
        create=calling("qharness_rtn.quantizer:RoundToNearest"),
        linear=imported("qharness.quantization.grid_linear:GridLinear"),
        needs="none",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )
