"""What users set with `--set qtip.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Options:
    """Options of QTIP; the defaults are the published two-bit recipe, with a searched scale.

    Raises:
        ValueError: The numbers make no trellis.
    """

    bits: int = _option(2, "Bits per weight: 2, 3 or 4.")
    code: Literal["hyb", "3inst", "1mad", "mul1"] = _option(
        "hyb", "What a state stands for: hyb (a table, two weights a step) or a computed code."
    )
    L: int = _option(16, "Bits of a state. 16 is the method; fewer are faster to search and worse.")
    window: int = _option(256, "Weights around a tile's seam that the first search runs over; 256 is the whole tile.")
    scale: float = _option(0.0, "Standard deviation of the code over that of the weights; 0 searches it per matrix.")
    damping: float = _option(0.01, "Damping of LDLQ, as a fraction of the Hessian's mean diagonal.")
    block: int = _option(0, "Block of the Hadamards, for example 128; 0 is the whole size where one exists.")
    refit: bool = _option(True, "Refit the scale by least squares after rounding.")
    epochs: int = _option(0, "Epochs of fine-tuning within each block, after every stage of its linears; 0 is none.")
    weight_lr: float = _option(5e-5, "Learning rate of the weights of a block that are not rounded yet.")
    sign_lr: float = _option(5e-4, "Learning rate of the sign vectors, which fine-tuning makes real numbers.")
    lut_lr: float = _option(5e-5, "Learning rate of the tables of hyb; 0 keeps them.")
    batch: int = _option(4, "Samples of a batch of the fine-tuning.")
    hessians: Literal["store", "sequential"] = _option(
        "store", "Hessians of the original model (stored ones where given), or sequential: behind the quantized blocks."
    )

    def __post_init__(self) -> None:
        if self.bits not in (2, 3, 4):
            raise ValueError(f"bits is 2, 3 or 4, not {self.bits}")
        if not 2 * self.bits * self.vector <= self.L <= 16:
            raise ValueError(f"L is {2 * self.bits * self.vector} to 16 for {self.bits} bits and code {self.code}")
        if self.window < 4 or self.scale < 0:
            raise ValueError("window is at least 4 and scale not negative")

    @property
    def vector(self) -> int:
        """Weights of a step."""
        return 2 if self.code == "hyb" else 1
