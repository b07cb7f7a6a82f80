"""What users set with `--set awq.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qharness.declare import option


@dataclass(frozen=True)
class Options:
    """Options of AWQ; the defaults are for two bits."""

    bits: int = option(2, "Bits per weight: 2, 3, 4 or 8.")
    group_size: int = option(64, "Weights that share a scale; the largest divisor of the input size up to it.")
    grid: Literal["asymmetric", "symmetric", "midrise"] = option("asymmetric", "Levels of a group.")
    scale_steps: int = option(20, "Exponents tried for the channel scales; 0 scales nothing.")
    clip_steps: int = option(80, "Candidates of the clipping search; 0 takes the range of the weights.")
    rounding: Literal["nearest", "gptq"] = option(
        "nearest", "How the scaled weights are rounded: AWQ's own way, or with GPTQ's error feedback."
    )
    damping: float = option(0.01, "Damping of rounding=gptq, as a fraction of the Hessian's mean diagonal.")
