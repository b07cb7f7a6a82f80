"""What users set with `--set awq.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Options:
    """Options of AWQ; the defaults are for two bits."""

    bits: int = _option(2, "Bits per weight: 2, 3, 4 or 8.")
    group_size: int = _option(64, "Weights that share a scale; the largest divisor of the input size up to it.")
    grid: Literal["asymmetric", "symmetric", "midrise"] = _option("asymmetric", "Levels of a group.")
    scale_steps: int = _option(20, "Exponents tried for the channel scales; 0 scales nothing.")
    clip_steps: int = _option(80, "Candidates of the clipping search; 0 takes the range of the weights.")
    rounding: Literal["nearest", "gptq"] = _option(
        "nearest", "How the scaled weights are rounded: AWQ's own way, or with GPTQ's error feedback."
    )
    damping: float = _option(0.01, "Damping of rounding=gptq, as a fraction of the Hessian's mean diagonal.")
