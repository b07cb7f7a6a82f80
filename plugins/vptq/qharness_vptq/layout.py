"""How a matrix is cut into vectors, and which columns use which codebook."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qharness.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from qharness_vptq.options import Options

CENTROID_BITS = 16
AUTOMATIC = (8, 6, 4, 2)
"""Vector lengths that the public kernels know, the best first."""


@dataclass(frozen=True)
class Layout:
    """Sizes of the codebooks of a matrix.

    Attributes:
        vector_len: Rows of a vector.
        centroids: Vectors in each main codebook.
        res_centroids: Vectors in each residual codebook; 0 for none.
        groups: Main (and residual) codebooks; each serves as many columns as the others.
        outliers: Columns with the outlier codebook.
        outlier_vector_len: Rows of their vectors; divides `vector_len`.
        outlier_centroids: Vectors in their codebook.
    """

    vector_len: int
    centroids: int
    res_centroids: int = 0
    groups: int = 1
    outliers: int = 0
    outlier_vector_len: int = 1
    outlier_centroids: int = 0

    @property
    def index_bits(self) -> int:
        """Bits of a main and a residual index together."""
        return int(math.log2(self.centroids)) + int(math.log2(max(self.res_centroids, 1)))

    @property
    def codebook_bits(self) -> int:
        """Stored bits of all codebooks."""
        vectors = self.groups * (self.centroids + self.res_centroids) * self.vector_len
        outliers = self.outlier_centroids * self.outlier_vector_len if self.outliers else 0
        return CENTROID_BITS * (vectors + outliers)

    def payload_bits(self, rows: int, columns: int) -> int:
        """Return the bits of the indices of a matrix."""
        vectors = -(-rows // self.vector_len) * (columns - self.outliers)
        return vectors * self.index_bits + CENTROID_BITS * -(-rows // self.outlier_vector_len) * self.outliers


def choose_layout(options: Options, rows: int, columns: int) -> Layout:
    """Return the codebooks for a matrix, or for several matrices with one input, stacked.

    Without a vector length the longest is taken whose codebook costs at most `options.overhead` of the indices; longer
    vectors have less error at equal index bits (VPTQ, arXiv 2409.17066, table 10), but the codebook grows as
    2^(bits * length).

    Args:
        options: Options of the method.
        rows: Outputs.
        columns: Inputs.

    Raises:
        UsageError: The columns cannot be shared among the groups.
    """
    outliers = math.ceil(options.outliers / 100 * columns)
    remainder = (columns - outliers) % options.groups
    if remainder and not outliers:
        raise UsageError(
            f"{columns} columns cannot be cut into {options.groups} groups; choose a divisor for `groups`."
        )
    outliers += remainder
    if outliers >= columns:
        raise UsageError(f"{outliers} outlier columns leave none of {columns} columns; lower `outliers` or `groups`.")
    if options.vector_len:
        candidates = [(options.vector_len, options.centroids or 2 ** (options.bits * options.vector_len))]
    else:
        usable = [v for v in AUTOMATIC if v * options.bits <= 16]
        if outliers:
            usable = [v for v in usable if v % options.outlier_vector_len == 0] or [options.outlier_vector_len]
        candidates = [(v, 2 ** (options.bits * v)) for v in usable]
    for length, centroids in candidates:
        layout = Layout(
            length,
            centroids,
            options.res_centroids,
            options.groups,
            outliers,
            options.outlier_vector_len,
            options.outlier_centroids,
        )
        if layout.codebook_bits <= options.overhead * layout.payload_bits(rows, columns):
            break
    return layout


@dataclass(frozen=True)
class Columns:
    """Which codebook each column uses.

    Attributes:
        order: Columns as stored: the outliers, then group by group; shape (columns,), int64.
        outliers: Number of outlier columns.
        groups: Number of groups.
    """

    order: Tensor
    outliers: int
    groups: int

    @property
    def is_permuted(self) -> bool:
        """Whether the stored order differs from the matrix's."""
        return not torch.equal(self.order, torch.arange(len(self.order), device=self.order.device))

    def outlier_columns(self) -> Tensor:
        """Return the outlier columns, shape (outliers,)."""
        return self.order[: self.outliers]

    def group_columns(self) -> Tensor:
        """Return the columns of each group, shape (groups, columns of a group)."""
        return self.order[self.outliers :].view(self.groups, -1)


def assign_columns(diagonal: Tensor, layout: Layout) -> Columns:
    """Return which codebook each column uses: the most important ones are outliers, the rest grouped by importance.

    With one codebook for all, the columns keep their order and no permutation has to be stored.

    Args:
        diagonal: Diagonal of the Hessian, shape (columns,).
        layout: Sizes of the codebooks.
    """
    if not layout.outliers and layout.groups == 1:
        order = torch.arange(len(diagonal), device=diagonal.device)
    else:
        order = diagonal.argsort(descending=True, stable=True)
    return Columns(order, layout.outliers, layout.groups)
