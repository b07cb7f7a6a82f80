"""What users set with `--set quip_sharp.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass

from qharness.declare import option
from qharness.quantization.incoherence_options import IncoherenceOptions


@dataclass(frozen=True)
class Options(IncoherenceOptions):
    """Options of QuIP#."""

    bits: int = option(2, "Bits per weight: 2 (E8P), 3 (E8P and E8 of the residual) or 4 (E8P twice).")
    scale: float = option(
        0.0, "Root mean square of the weights that the code sees, 0.9 in the authors' code; 0 searches it per matrix."
    )
    iterations: int = option(10, "Passes of coordinate descent after BlockLDLQ.")
    row_scales: bool = option(True, "A scale per output, refitted by least squares; else one per matrix.")

    fused: bool = option(
        False, "Round q, k, v and up, gate as one matrix each, with one Hadamard across it, as the public layout does."
    )

    def __post_init__(self) -> None:
        if self.bits not in (2, 3, 4):
            raise ValueError(f"bits is 2, 3 or 4, not {self.bits}")
        super().__post_init__()
