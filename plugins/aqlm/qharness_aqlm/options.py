"""What users set with `--set aqlm.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from qharness_aqlm.scheme import Scheme, parse_scheme


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Options:
    """Options of AQLM; the defaults are for two bits."""

    scheme: str = _option("2x8", "Codebooks x bits: 2x8, 1x16, 3x8; g4 or g2 after it for groups of 4 or 2 weights.")
    shrink: bool = _option(True, "Give matrices that are too small for the scheme one with smaller codebooks.")
    overhead: float = _option(0.125, "Largest codebooks, as a fraction of the codes' bits, that shrink allows.")
    budget: float = _option(
        0.0, "Stored bits per weight of all linears, spent by sensitivity; 0 gives every matrix the scheme's bits."
    )
    sensitivity_samples: int = _option(8, "Calibration sequences whose gradients tell the sensitivities.")
    beam: int = _option(8, "Hypotheses per row in the search over codes; a single codebook is searched exactly.")
    rounds: int = _option(24, "Most alternations of refitting codebooks and searching codes.")
    tolerance: float = _option(0.01, "Stop when a round lowers the error by less than this fraction.")
    refit_steps: int = _option(8, "Conjugate gradient steps on the codebooks in a round.")
    kmeans_iterations: int = _option(25, "Most iterations of the k-means that codebooks start from.")
    damping: float = _option(0.01, "Fraction of the Hessian's mean diagonal that is added to it.")
    epochs: int = _option(0, "Most epochs of training codebooks, scales and norms against the original block's output.")
    batch: int = _option(4, "Sequences per batch of that training.")
    rate: float = _option(1e-4, "Its learning rate.")
    hessians: Literal["store", "sequential"] = _option(
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
