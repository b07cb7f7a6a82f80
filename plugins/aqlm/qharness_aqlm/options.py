"""What users set with `--set aqlm.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qharness.declare import option
from qharness_aqlm.scheme import Scheme, parse_scheme


@dataclass(frozen=True)
class Options:
    """Options of AQLM; the defaults are for two bits."""

    scheme: str = option("2x8", "Codebooks x bits: 2x8, 1x16, 3x8; g4 or g2 after it for groups of 4 or 2 weights.")
    shrink: bool = option(True, "Give matrices that are too small for the scheme one with smaller codebooks.")
    overhead: float = option(0.125, "Largest codebooks, as a fraction of the codes' bits, that shrink allows.")
    budget: float = option(
        0.0, "Stored bits per weight of all linears, spent by sensitivity; 0 gives every matrix the scheme's bits."
    )
    sensitivity_samples: int = option(8, "Calibration sequences whose gradients tell the sensitivities.")
    beam: int = option(8, "Hypotheses per row in the search over codes; a single codebook is searched exactly.")
    rounds: int = option(24, "Most alternations of refitting codebooks and searching codes.")
    tolerance: float = option(0.01, "Stop when a round lowers the error by less than this fraction.")
    refit_steps: int = option(8, "Conjugate gradient steps on the codebooks in a round.")
    kmeans_iterations: int = option(25, "Most iterations of the k-means that codebooks start from.")
    damping: float = option(0.01, "Fraction of the Hessian's mean diagonal that is added to it.")
    epochs: int = option(0, "Most epochs of training codebooks, scales and norms against the original block's output.")
    batch: int = option(4, "Sequences per batch of that training.")
    rate: float = option(1e-4, "Its learning rate.")
    hessians: Literal["store", "sequential"] = option(
        "sequential", "Hessians behind the quantized blocks; or store, of the original model, stored ones where given."
    )

    def __post_init__(self) -> None:
        self.parsed()
        for name in ("beam", "rounds", "refit_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")

    def parsed(self) -> Scheme:
        """Return the scheme that is wanted for large matrices."""
        return parse_scheme(self.scheme)

    @property
    def nominal_bits(self) -> float:
        """Bits of the codes per weight; with a budget, the budget."""
        return self.budget or self.parsed().nominal_bits
