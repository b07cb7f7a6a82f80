"""What users set with `--set gptq.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qharness.declare import option


@dataclass(frozen=True)
class Options:
    """Options of GPTQ; the defaults are for two bits."""

    bits: int = option(2, "Bits per weight: 2, 3, 4 or 8.")
    group_size: int = option(64, "Weights that share a scale; the largest divisor of the input size up to it.")
    grid: Literal["asymmetric", "symmetric", "midrise"] = option(
        "asymmetric", "Levels of a group: with a stored zero, with 0 as a level, or +-s/2, +-3s/2."
    )
    clip_steps: int = option(80, "Candidates of the clipping search; 0 takes the range of the weights.")
    clip_weighted: bool = option(False, "Weigh errors by the Hessian's diagonal in the clipping search.")
    act_order: Literal["groups", "columns", "off"] = option(
        "groups", "Visit important groups first; or sort all columns and store their groups (g_idx); or neither."
    )
    damping: float = option(0.01, "Damping, as a fraction of the Hessian's mean diagonal.")
    refit: bool = option(True, "Refit scales by least squares after the pass.")
    rotation: Literal["none", "hadamard"] = option(
        "none", "Rotate residual stream and value heads by random Hadamards, merged into the weights."
    )
    hessians: Literal["store", "sequential"] = option(
        "store", "Hessians of the original model: stored ones where given; or sequential, behind the quantized blocks."
    )
