"""Refit all centroids by least squares once the indices are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from qharness.rounding.conjugate import conjugate_gradients
from qharness.rounding.segments import Segments
from qharness_kernels.codebook import decode_vectors

if TYPE_CHECKING:
    from torch import Tensor

    from qharness_vptq.books import Books
    from qharness_vptq.layout import Columns, Layout

ITERATIONS = 24
SMALL = 1e-6


class Term:
    """What one codebook adds to the matrix, linear in its vectors.

    Args:
        labels: Vector of each place, shape (T, columns), int64.
        columns: Their columns in the matrix, shape (columns,), int64.
        count: Vectors in the codebook.
        length: Rows of a vector.
    """

    def __init__(self, labels: Tensor, columns: Tensor, count: int, length: int) -> None:
        self.labels, self.columns, self.count, self.length = labels, columns, count, length
        self._segments = Segments(labels.flatten(), count)

    def decode(self, table: Tensor) -> Tensor:
        """Return what vectors of shape (count, length) add to these columns, shape (T * length, columns)."""
        return decode_vectors(self.labels, table)

    def gather(self, matrix: Tensor) -> Tensor:
        """Return the transpose of `decode` applied to a matrix of the whole width: shape (count, length)."""
        vectors = matrix[:, self.columns].unflatten(0, (-1, self.length)).transpose(1, 2)
        return self._segments.sum(vectors.reshape(-1, self.length))


def terms_of(indices: Tensor, layout: Layout, columns: Columns) -> list[Term]:
    """Return the terms of a rounded matrix, in the order of `Books.tables()`.

    Args:
        indices: What the code encoded, shape (T, columns, width).
        layout: Sizes of the codebooks.
        columns: Which column uses which.
    """
    own = columns.group_columns()
    offsets = torch.arange(len(own), device=own.device)[:, None].expand_as(own).reshape(-1)
    flat, length = own.reshape(-1), layout.vector_len
    terms = [Term(indices[:, flat, 0] + offsets * layout.centroids, flat, len(own) * layout.centroids, length)]
    if layout.res_centroids:
        labels = indices[:, flat, 1] + offsets * layout.res_centroids
        terms.append(Term(labels, flat, len(own) * layout.res_centroids, length))
    if layout.outliers:
        flat, length = columns.outlier_columns(), layout.outlier_vector_len
        labels = outlier_labels(indices, layout, columns)
        terms.append(Term(labels, flat, layout.outlier_centroids, length))
    return terms


def outlier_labels(indices: Tensor, layout: Layout, columns: Columns) -> Tensor:
    """Return the indices of the outlier columns' short vectors, shape (rows / v0, outliers)."""
    short = layout.vector_len // layout.outlier_vector_len
    return indices[:, columns.outlier_columns(), :short].transpose(1, 2).flatten(0, 1)


def decode_terms(terms: list[Term], tables: Sequence[Tensor], scale: Tensor, bias: Tensor | None) -> Tensor:
    """Return the matrix of these codebooks, shape (rows, columns), float32; without its bias if None."""
    first = terms[0]
    matrix = torch.zeros(first.labels.shape[0] * first.length, len(scale), device=scale.device)
    for term, table in zip(terms, tables, strict=True):
        matrix[:, term.columns] += term.decode(table)
    matrix *= scale
    return matrix if bias is None else matrix + bias


@torch.no_grad()
def refit_books(weight: Tensor, hessian: Tensor, books: Books, terms: list[Term]) -> Books:
    """Return the books whose vectors minimise tr(E H E^T) for the indices as they are.

    The matrix is linear in all vectors of all codebooks together; their normal equations are solved by conjugate
    gradients, preconditioned by their diagonal, from the present vectors. One product costs one decoding and one
    multiplication with H, so codebooks of 65536 vectors need no matrix of their own.

    Args:
        weight: Weights before rounding, shape (rows, columns).
        hessian: Damped Hessian, shape (columns, columns).
        books: Codebooks and norms.
        terms: Where each vector is used.
    """

    def pull(matrix: Tensor) -> list[Tensor]:
        weighted = (matrix @ hessian) * books.scale
        return [term.gather(weighted) for term in terms]

    def apply(tables: Sequence[Tensor]) -> list[Tensor]:
        return pull(decode_terms(terms, tables, books.scale, None))

    mass = (hessian.diagonal() * books.scale.square()).expand_as(weight)
    # A vector that no place uses has a zero row in the normal equations and stays as it is.
    inverses = [
        torch.where(total > 0, 1 / total.clamp_min(1e-30), 0) for total in (term.gather(mass) for term in terms)
    ]
    tables = conjugate_gradients(
        apply,
        books.tables(),
        pull(weight - decode_terms(terms, books.tables(), books.scale, books.bias)),
        lambda values: [inverse * value for inverse, value in zip(inverses, values, strict=True)],
        iterations=ITERATIONS,
        tolerance=SMALL,
    )
    return books.with_tables(tables)
