"""What users set with `--set qtip.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qharness.declare import option
from qharness.quantization.incoherence_options import IncoherenceOptions

STATE_BITS, CPU_STATE_BITS = 16, 12


@dataclass(frozen=True)
class Options(IncoherenceOptions):
    """Options of QTIP; the defaults are the published two-bit recipe, with a searched scale.

    Raises:
        ValueError: The numbers make no trellis.
    """

    bits: int = option(2, "Bits per weight: 2, 3 or 4.")
    code: Literal["hyb", "3inst", "1mad", "mul1"] = option(
        "hyb", "What a state stands for: hyb (a table, two weights a step) or a computed number."
    )
    L: int = option(0, "Bits of a state: 16 is the method, fewer are faster and worse; 0 is 16 on a GPU, else 12.")
    window: int = option(256, "Weights around a tile's seam that the first search runs over; 256 is the whole tile.")
    scale: float = option(
        0.0,
        "Root mean square of the code over that of the weights, 0.9 for the authors; 0 searches it per matrix.",
    )
    iterations: int = option(1, "Passes of coordinate descent after LDLQ; the authors' code has none.")
    refit: bool = option(True, "Refit the scale by least squares after rounding.")
    table_rate: float = option(5e-5, "Learning rate of the tables of hyb; 0 keeps them.")
    whole_table_rate: float = option(1e-5, "Its learning rate of the tables of hyb; 0 keeps them.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in (2, 3, 4):
            raise ValueError(f"bits is 2, 3 or 4, not {self.bits}")
        if self.L and not 2 * self.bits * self.vector <= self.L <= STATE_BITS:
            raise ValueError(f"L is {2 * self.bits * self.vector} to 16 for {self.bits} bits and code {self.code}")
        if self.window < 4 or self.scale < 0 or self.iterations < 0:
            raise ValueError("window is at least 4, scale and iterations are not negative")

    @property
    def vector(self) -> int:
        """Weights of a step."""
        return 2 if self.code == "hyb" else 1

    def state_bits(self, device: str) -> int:
        """Return the bits of a state on a device: what is asked for, or what its speed allows."""
        usual = CPU_STATE_BITS if device == "cpu" else STATE_BITS
        return self.L or max(usual, 2 * self.bits * self.vector)
