"""What users set with `--set butterfly.NAME=VALUE` and `--set butterfly_e8p.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qharness.declare import option


@dataclass(frozen=True)
class Learning:
    """Options of the learned rotation, whatever the code book."""

    start: Literal["identity", "hadamard"] = option("identity", "Angles before learning: all 0, or all pi/4.")
    steps: int = option(0, "Steps of SGD for each input; 0 is 500 on a GPU and 24 without; negative learns nothing.")
    rate: float = option(20.0, "Learning rate of SGD with momentum 0.9, annealed by a cosine.")
    uniformity: float = option(0.01, "Weight of the divergence of the rotated inputs from a uniform distribution.")
    rows: int = option(512, "Rows of the weights that a step sees.")
    tokens: int = option(256, "Tokens whose rotated inputs a step sees.")
    samples: int = option(128, "Calibration sequences from which inputs are taken.")
    unbiased: bool = option(True, "Scale every row so that its output keeps its size; least squares alone shrinks it.")
    damping: float = option(0.01, "Damping of the rounding, as a fraction of the Hessian's mean diagonal.")
    hessians: Literal["store", "sequential"] = option(
        "store",
        "Hessians of the original model, rotated: stored ones where given; or sequential, behind the quantized blocks.",
    )


@dataclass(frozen=True)
class Options(Learning):
    """Options of ButterflyQuant with uniform levels."""

    bits: int = option(2, "Bits per weight: 2, 3, 4 or 8.")
    group_size: int = option(64, "Weights that share a scale; the largest divisor of the input size up to it.")
    grid: Literal["midrise", "asymmetric", "symmetric"] = option("midrise", "Levels of a group.")
    clip_steps: int = option(32, "Steps of the clipping search; 0 takes the range of the weights.")
    feedback: bool = option(True, "Round with error feedback and refitted scales; else to nearest.")


@dataclass(frozen=True)
class E8pOptions(Learning):
    """Options of butterflies with the E8P code book."""

    iterations: int = option(10, "Passes of coordinate descent after the rounding.")
