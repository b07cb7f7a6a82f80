"""What users set with `--set iq2_xxs.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qharness.declare import option


@dataclass(frozen=True)
class Options:
    """Options of IQ2_XXS."""

    mix: Literal["default", "pure"] = option(
        "default", "Types as llama.cpp mixes them for this type, or IQ2_XXS wherever it fits."
    )
    feedback: bool = option(True, "Feed rounding errors forward with the whole Hessian; else use its diagonal alone.")
    passes: int = option(2, "Passes that choose scales and code words anew under the whole Hessian.")
    unbiased: bool = option(True, "Scale every row so that its output keeps its size; least squares alone shrinks it.")
    damping: float = option(0.01, "Fraction of the Hessian's mean diagonal that is added to its diagonal.")
    hessians: Literal["store", "sequential"] = option(
        "store", "Hessians of the original model, stored ones where given; or sequential, behind the quantized blocks."
    )
