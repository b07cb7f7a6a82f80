"""What users set with `--set quip_sharp.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Options:
    """Options of QuIP#."""

    bits: int = _option(2, "Bits per weight: 2 (E8P), 3 (E8P and E8 of the residual) or 4 (E8P twice).")
    scale: float = _option(
        0.0, "Root mean square of the weights that the code sees, 0.9 in the authors' code; 0 searches it per matrix."
    )
    iterations: int = _option(10, "Passes of coordinate descent after BlockLDLQ.")
    row_scales: bool = _option(True, "A scale per output, refitted by least squares; else one per matrix.")
    damping: float = _option(0.01, "Added to the Hessian's diagonal, as a fraction of its mean.")
    hadamard_block: int = _option(0, "Block of the Hadamards, for example 128; 0 is one block wherever one is known.")
    epochs: int = _option(0, "Epochs of fine-tuning within each block; 0 does none, the authors use 5.")
    weight_rate: float = _option(5e-5, "Learning rate of the weights that are not quantized yet.")
    sign_rate: float = _option(5e-4, "Learning rate of the sign vectors.")
    batch: int = _option(4, "Samples per batch of the fine-tuning.")
    accumulate: int = _option(2, "Batches per step of its optimizer.")
    hessians: Literal["store", "sequential"] = _option(
        "store", "Hessians of the original model; or sequential, behind the quantized blocks."
    )

    def __post_init__(self) -> None:
        if self.bits not in (2, 3, 4):
            raise ValueError(f"bits is 2, 3 or 4, not {self.bits}")
