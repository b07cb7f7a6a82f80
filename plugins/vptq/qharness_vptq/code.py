"""VPTQ's vectors as a code of the rounding loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qharness.rounding.code import Tile
from qharness.rounding.kmeans import nearest_centroids
from qharness_kernels.codebook import decode_vectors

if TYPE_CHECKING:
    from torch import Tensor

    from qharness_vptq.books import Books
    from qharness_vptq.layout import Columns, Layout

DISTANCES_AT_ONCE = 2**26


class VectorCode:
    """Vectors of `layout.vector_len` rows in one column, each the nearest one of the column's codebook.

    Inside a column the error of every row costs the same after feedback, so nearest in plain distance is nearest in
    the metric. The indices of a vector are (main, residual) or, in an outlier column, those of its short vectors,
    filled up with zeros to the same number.

    Args:
        books: Codebooks and column norms.
        layout: Their sizes.
        columns: Which column uses which.
        beam: Main vectors tried with their best residual.

    Source: Liu et al., VPTQ, arXiv 2409.17066, section 3.1 (channel-independent second-order optimization).
    """

    group = 1

    def __init__(self, books: Books, layout: Layout, columns: Columns, beam: int) -> None:
        self.books, self.layout, self.beam = books, layout, beam
        self.tile = Tile(layout.vector_len, 1)
        self.bits = layout.index_bits / layout.vector_len
        short = layout.vector_len // layout.outlier_vector_len if layout.outliers else 1
        self.width = max(2 if layout.res_centroids else 1, short)
        group_of = torch.full_like(columns.order, -1)
        for group, own in enumerate(columns.group_columns()):
            group_of[own] = group
        self._groups, self._scales, self._biases = group_of.tolist(), books.scale.tolist(), books.bias.tolist()
        self._norms = books.main.square().sum(2)

    def begin_group(self, index: int, weights: Tensor, importance: Tensor) -> None:
        """Turn to column `index`."""
        self._column = index

    def encode(self, weights: Tensor) -> Tensor:
        """Return the indices of a column of shape (rows, 1): shape (rows / v, width), int64."""
        values = (weights[:, 0] - self._biases[self._column]) / self._scales[self._column]
        group = self._groups[self._column]
        if group < 0:
            assert self.books.outlier is not None
            found = nearest_centroids(values.view(-1, self.layout.outlier_vector_len), self.books.outlier)[0]
            found = found.view(-1, self.layout.vector_len // self.layout.outlier_vector_len)
        else:
            vectors = values.view(-1, self.layout.vector_len)
            if self.books.residual is None:
                found = nearest_centroids(vectors, self.books.main[group])[0][:, None]
            else:
                step = max(DISTANCES_AT_ONCE // self.layout.centroids, 1)
                found = torch.cat([self._nearest_pair(part, group) for part in vectors.split(step)])
        return torch.nn.functional.pad(found, (0, self.width - found.shape[1]))

    def decode(self, indices: Tensor) -> Tensor:
        """Return the column of these indices, shape (rows, 1), float32."""
        group = self._groups[self._column]
        if group < 0:
            assert self.books.outlier is not None
            short = self.layout.vector_len // self.layout.outlier_vector_len
            values = decode_vectors(indices[:, :short].reshape(-1, 1), self.books.outlier)
        else:
            values = decode_vectors(indices[:, :1], self.books.main[group])
            if self.books.residual is not None:
                values = values + decode_vectors(indices[:, 1:2], self.books.residual[group])
        return values * self._scales[self._column] + self._biases[self._column]

    def _nearest_pair(self, vectors: Tensor, group: int) -> Tensor:
        """Return main and residual index of each vector: the best of the `beam` nearest main vectors."""
        assert self.books.residual is not None
        main = self.books.main[group]
        beam = min(self.beam, len(main))
        distances = torch.addmm(self._norms[group], vectors, main.T, alpha=-2)
        first = distances.topk(beam, dim=1, largest=False).indices
        rest = (vectors[:, None] - main[first]).flatten(0, 1)
        second, errors = nearest_centroids(rest, self.books.residual[group])
        best = errors.view(first.shape).argmin(1, keepdim=True)
        return torch.cat([first.gather(1, best), second.view(first.shape).gather(1, best)], 1)
