"""VPTQ of one matrix: k-means, the error-feedback pass, then refits and coordinate descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qharness.rounding.descent import coordinate_descent
from qharness.rounding.factor import inverse_factor
from qharness.rounding.feedback import Rounded, round_with_feedback
from qharness.rounding.order import Order, column_order
from qharness_vptq.books import Books, column_norm, learn_books
from qharness_vptq.code import VectorCode
from qharness_vptq.layout import Columns, Layout, assign_columns, choose_layout
from qharness_vptq.refit import decode_terms, refit_books, terms_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

    from qharness_vptq.options import Options

SCALE_SHARE = 1 / 64


@dataclass(frozen=True)
class Fitted:
    """Matrices with one input, quantized with the same codebooks.

    Attributes:
        layout: Sizes of the codebooks.
        columns: Which column uses which.
        books: Codebooks and column norms.
        norm: Kind of the column norms: `none`, `rms` or `minmax`.
        indices: Of each matrix, as `VectorCode` encodes them, shape (ceil(rows / v), columns, width), int64.
    """

    layout: Layout
    columns: Columns
    books: Books
    norm: str
    indices: list[Tensor]


def fit(weights: Sequence[Tensor], hessian: Tensor, options: Options, generator: Generator) -> Fitted:
    """Quantize matrices that see the same input, with the same codebooks.

    The matrices are stacked: rows do not depend on one another, so the stack is one matrix to every step.

    Args:
        weights: Each of shape (rows, columns), float32.
        hessian: Mean of x x^T of their input, shape (columns, columns).
        options: Options of the method.
        generator: Randomness of k-means.
    """
    rows, columns = sum(len(weight) for weight in weights), weights[0].shape[1]
    layout = choose_layout(options, rows, columns)
    padded = [torch.nn.functional.pad(weight, (0, 0, 0, -len(weight) % layout.vector_len)) for weight in weights]
    stack = torch.cat(padded)
    damped = hessian.float().clone()
    damped.diagonal().add_(options.damping * damped.diagonal().mean().clamp_min(1e-8))
    assigned = assign_columns(damped.diagonal(), layout)
    norm = choose_norm(options.norm, layout, rows, columns)
    books = learn_books(
        stack,
        column_importance(damped, options.importance, options.order),
        layout,
        assigned,
        column_norm(torch.cat(list(weights)), norm),
        iterations=options.iterations,
        generator=generator,
    )
    code = VectorCode(books, layout, assigned, options.beam)
    rounded = round_with_feedback(stack, damped, code, order=options.order, damping=0.0)
    books = _refitted(stack, damped, books, rounded.indices, layout, assigned, options)
    for _ in range(options.sweeps):
        code = VectorCode(books, layout, assigned, options.beam)
        present = decode_terms(terms_of(rounded.indices, layout, assigned), books.tables(), books.scale, books.bias)
        rounded = coordinate_descent(
            stack, damped, code, Rounded(present, rounded.indices, 0.0), iterations=1, order=options.order, damping=0.0
        )
        books = _refitted(stack, damped, books, rounded.indices, layout, assigned, options)
    counts = [len(weight) // layout.vector_len for weight in padded]
    return Fitted(layout, assigned, books, norm, list(rounded.indices.split(counts)))


def choose_norm(norm: str, layout: Layout, rows: int, columns: int) -> str:
    """Return the kind of column norm; `auto` is `rms` where its scales cost at most 1 / 64 of the indices."""
    if norm != "auto":
        return norm
    return "rms" if 16 * columns <= SCALE_SHARE * layout.payload_bits(rows, columns) else "none"


def column_importance(hessian: Tensor, kind: str, order: Order) -> Tensor:
    """Return the weight of each column's squared error in k-means, shape (columns,).

    Args:
        hessian: Damped Hessian, shape (columns, columns).
        kind: `hessian`: diag(H), the cost of an error that no other column makes up for. `inverse`: 1 / diag(H^-1), its
            cost when all other columns do. `feedback`: 1 / U_jj^2, its cost when the columns after it in the walk do,
            which is what the loop pays. `none`: one.
        order: Order of the walk.
    """
    diagonal = hessian.diagonal()
    if kind == "none":
        return torch.ones_like(diagonal)
    if kind == "hessian":
        return diagonal.clone()
    walk = column_order(diagonal, order, 1, 1)
    upper = inverse_factor(hessian[walk][:, walk], 0.0).upper
    found = torch.empty_like(diagonal)
    found[walk] = 1 / (upper.square().sum(0) if kind == "inverse" else upper.diagonal().square())
    return found


def _refitted(
    weight: Tensor, hessian: Tensor, books: Books, indices: Tensor, layout: Layout, columns: Columns, options: Options
) -> Books:
    return refit_books(weight, hessian, books, terms_of(indices, layout, columns)) if options.refit else books
