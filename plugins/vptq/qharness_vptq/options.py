"""What users set with `--set vptq.NAME=VALUE`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from qharness.declare import option


@dataclass(frozen=True)
class Options:
    """Options of VPTQ; the defaults are for two bits.

    Raises:
        ValueError: A number is out of range, or no codebook has that number of bits.
    """

    bits: int = option(2, "Bits of indices per weight where the codebook's size is chosen automatically.")
    vector_len: int = option(0, "Outputs that share an index; 0 takes the longest whose codebook is small enough.")
    centroids: int = option(0, "Vectors in the codebook, a power of two; 0 is 2^(bits * vector_len).")
    res_centroids: int = option(0, "Vectors in the residual codebook, a power of two; 0 for none.")
    overhead: float = option(1 / 16, "Largest codebook of the automatic choice, as a fraction of the indices.")
    share: Literal["none", "kv", "input"] = option(
        "input", "Linears that share codebooks: none; kv; or all with one input, q with k and v, gate with up."
    )
    groups: int = option(1, "Codebooks along the input, for columns of similar importance.")
    outliers: float = option(0.0, "Percent of the columns, the most important, that get a codebook of their own.")
    outlier_vector_len: int = option(2, "Vector length of the outlier columns; divides the other one.")
    outlier_centroids: int = option(256, "Vectors in the outlier columns' codebook, a power of two.")
    norm: Literal["auto", "none", "rms", "minmax"] = option(
        "auto",
        "Scale of each column: its root mean square (rms), range and minimum as the authors' code has it (minmax), "
        "or none; auto is rms where the scales are under 1/64 of the indices.",
    )
    importance: Literal["inverse", "feedback", "hessian", "none"] = option(
        "inverse",
        "Weight of a column in k-means: 1 / diag(H^-1); what an error costs after feedback in the order of the walk; "
        "diag(H), as in the paper; or none.",
    )
    order: Literal["activation", "natural"] = option("activation", "Columns in order of importance, or first to last.")
    damping: float = option(0.01, "Added to the Hessian's diagonal, as a fraction of its mean.")
    iterations: int = option(20, "Most iterations of k-means.")
    beam: int = option(8, "Main vectors tried with their best residual.")
    sweeps: int = option(2, "Rounds of coordinate descent and centroid refit after the error-feedback pass.")
    refit: bool = option(True, "Refit centroids by least squares after each pass.")
    epochs: int = option(0, "Epochs of fine-tuning codebooks and norms within each block; 0 does none.")
    rate: float = option(1e-4, "Learning rate of the fine-tuning within blocks.")
    whole_epochs: int = option(0, "Epochs of fine-tuning codebooks, norms and an untied head end to end; 0 does none.")
    whole_rate: float = option(1e-5, "Its learning rate.")
    batch: int = option(4, "Samples per batch of the fine-tuning.")
    hessians: Literal["store", "sequential"] = option(
        "store", "Hessians of the original model: stored ones where given; or sequential, behind the quantized blocks."
    )

    def __post_init__(self) -> None:
        for name in ("centroids", "res_centroids", "outlier_centroids"):
            value = getattr(self, name)
            if value and (value < 2 or value > 65536 or value & (value - 1)):
                raise ValueError(f"{name} must be 0 or a power of two from 2 to 65536, not {value}")
        if not 1 <= self.bits <= 8:
            raise ValueError(f"bits must be 1 to 8, not {self.bits}")
        if self.vector_len < 0 or self.groups < 1 or self.beam < 1 or self.outlier_vector_len < 1:
            raise ValueError("vector_len must be 0 or more; groups, beam and outlier_vector_len at least 1")
        if not 0 <= self.outliers < 100:
            raise ValueError(f"outliers is a percentage below 100, not {self.outliers:g}")
        if self.centroids and not self.vector_len:
            raise ValueError("centroids needs vector_len; set both, or neither for the automatic choice")
        if self.res_centroids and not self.centroids:
            raise ValueError("res_centroids needs centroids and vector_len")
        if self.res_centroids > self.centroids:
            raise ValueError("res_centroids may not exceed centroids: the public torch reader cuts such indices off")
        if self.vector_len and not self.centroids and self.bits * self.vector_len > 16:
            raise ValueError(f"2^({self.bits} * {self.vector_len}) vectors are too many; the most are 65536")
        if self.outliers and self.vector_len and self.vector_len % self.outlier_vector_len:
            raise ValueError("outlier_vector_len must divide vector_len")

    @property
    def nominal_bits(self) -> float:
        """Bits of indices per weight, outlier columns included."""
        if not self.centroids:
            main = float(self.bits)
        else:
            main = (math.log2(self.centroids) + math.log2(max(self.res_centroids, 1))) / self.vector_len
        share = self.outliers / 100
        return main * (1 - share) + share * math.log2(self.outlier_centroids) / self.outlier_vector_len
