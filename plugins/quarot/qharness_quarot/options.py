"""What users set with `--set quarot.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qharness.declare import option


@dataclass(frozen=True)
class Options:
    """Options of QuaRot; the defaults are for two bits."""

    bits: int = option(2, "Bits per weight: 2, 3, 4 or 8.")
    group_size: int = option(64, "Weights that share a scale; the largest divisor of the input size up to it.")
    grid: Literal["asymmetric", "midrise", "symmetric"] = option("asymmetric", "Levels of a group.")
    clip_steps: int = option(80, "Candidates of the clipping search; 0 takes the range of the weights.")
    rotation: Literal["hadamard", "walsh"] = option(
        "hadamard", "R1: a Hadamard matrix with random signs, or one ordered by sequency without signs."
    )
    block: int = option(0, "Size of the diagonal blocks of R1 and R4, for instance 128; 0 is one block.")
    across_heads: bool = option(True, "Hadamard over the attention heads before o_proj, at run time.")
    r4: bool = option(True, "Hadamard before down_proj, at run time.")
    act_order: Literal["groups", "columns", "off"] = option("groups", "Order of GPTQ, as option of `gptq`.")
    damping: float = option(0.01, "Damping of GPTQ, as a fraction of the Hessian's mean diagonal.")
    refit: bool = option(True, "Refit scales by least squares after GPTQ.")
    hessians: Literal["store", "sequential"] = option(
        "store",
        "Hessians of the original model, rotated: stored ones where given; or sequential, behind the quantized blocks.",
    )
