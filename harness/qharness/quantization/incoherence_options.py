"""Options that every method with incoherence processing has; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qharness.declare import option


@dataclass(frozen=True)
class IncoherenceOptions:
    """Hadamards, Hessians, and the fine-tuning of what they leave free."""

    damping: float = option(0.01, "Added to the Hessian's diagonal, as a fraction of its mean.")
    hadamard_block: int = option(0, "Block of the Hadamards, for example 128; 0 is one block wherever one is known.")
    hadamard: Literal["generated", "public"] = option(
        "generated", "Dense factors of the Hadamards: generated, or those of the public checkpoints, for exports."
    )
    epochs: int = option(0, "Epochs of fine-tuning within each block; 0 does none, the authors use 5.")
    weight_rate: float = option(5e-5, "Learning rate of the weights that are not quantized yet.")
    sign_rate: float = option(5e-4, "Learning rate of the sign vectors.")
    whole_epochs: int = option(0, "Epochs of fine-tuning end to end; 0 does none.")
    whole_weight_rate: float = option(1e-5, "Its learning rate of the head, where that is not tied.")
    whole_sign_rate: float = option(1e-4, "Its learning rate of the sign vectors.")
    batch: int = option(4, "Samples per batch of the fine-tuning.")
    accumulate: int = option(2, "Batches per step of its optimizer.")
    hessians: Literal["store", "sequential"] = option(
        "store", "Hessians of the original model; or sequential, behind the quantized blocks."
    )

    def __post_init__(self) -> None:
        if self.hadamard == "public" and self.hadamard_block:
            raise ValueError("the public Hadamards are whole: leave hadamard_block at 0, or take hadamard=generated")
