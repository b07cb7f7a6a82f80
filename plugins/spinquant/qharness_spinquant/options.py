"""What users set with `--set spinquant.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qharness.declare import option


@dataclass(frozen=True)
class Options:
    """Options of SpinQuant; the defaults are for two bits."""

    bits: int = option(2, "Bits per weight: 2, 3, 4 or 8.")
    group_size: int = option(64, "Weights that share a scale; the largest divisor of the input size up to it.")
    grid: Literal["midrise", "asymmetric", "symmetric"] = option("midrise", "Levels of a group.")
    clip_steps: int = option(32, "Steps of the clipping search; 0 takes the range of the weights.")
    no_had: bool = option(False, "Only R1 and R2, which are merged into the weights; nothing happens online.")
    r4_block: int = option(0, "Block of the online Hadamard before down_proj; 0 is its whole size where one exists.")
    learn: bool = option(True, "Learn R1 and R2; else they stay random Hadamards.")
    proxy: Literal["weights", "activations"] = option(
        "weights", "What is quantized while the rotations are learned, so that the loss depends on them."
    )
    activation_bits: int = option(8, "Bits of the activations with proxy=activations.")
    iterations: int = option(0, "Steps of Cayley SGD; 0 is 100 on a GPU and 24 without.")
    samples: int = option(0, "Sequences seen while learning; 0 is 8 a step.")
    sample_length: int = option(0, "Tokens of each; 0 is the calibration length on a GPU and at most 128 without.")
    lr: float = option(1.5, "Learning rate, annealed by a cosine; caps the length of a step.")
    act_order: bool = option(True, "GPTQ visits important groups first (no index is stored).")
    damping: float = option(0.01, "Damping of GPTQ, as a fraction of the Hessian's mean diagonal.")
    refit: bool = option(True, "Refit scales by least squares after GPTQ.")
    hessians: Literal["store", "sequential"] = option(
        "store",
        "Hessians of the original model, rotated: stored ones where given; or sequential, behind the quantized blocks.",
    )
    center_embeddings: bool = option(
        False, "Subtract each embedding's mean, as the authors' code does; wrong for RMSNorm, for comparison only."
    )
