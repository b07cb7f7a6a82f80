"""The codebooks of a matrix: learned by k-means, applied by the rounding loop, refitted by least squares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from qharness.rounding.kmeans import kmeans

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from qharness_vptq.layout import Columns, Layout


@dataclass(frozen=True)
class Books:
    """Codebooks and column norms; every value is one that float16 holds.

    Attributes:
        main: Shape (groups, k, v), float32.
        residual: Shape (groups, residual k, v), or None.
        outlier: Shape (k0, v0), or None.
        scale: Factor of each column, shape (columns,).
        bias: Added to each column, shape (columns,).
    """

    main: Tensor
    residual: Tensor | None
    outlier: Tensor | None
    scale: Tensor
    bias: Tensor

    def tables(self) -> list[Tensor]:
        """Return the codebooks as (vectors, length) tables: main, residual, outlier, those that there are."""
        found = [self.main.flatten(0, 1)]
        if self.residual is not None:
            found.append(self.residual.flatten(0, 1))
        if self.outlier is not None:
            found.append(self.outlier)
        return found

    def with_tables(self, tables: list[Tensor]) -> Books:
        """Return these books with other vectors, rounded as they are stored; `tables` as from `tables()`."""
        stored = [stored_value(table) for table in tables]
        main = stored.pop(0).view_as(self.main)
        residual = None if self.residual is None else stored.pop(0).view_as(self.residual)
        return replace(self, main=main, residual=residual, outlier=stored[0] if stored else None)


def stored_value(values: Tensor) -> Tensor:
    """Return values as float16 keeps them, in float32."""
    return values.clamp(-65504.0, 65504.0).half().float()


def column_norm(weight: Tensor, norm: str) -> tuple[Tensor, Tensor]:
    """Return scale and bias of each column, shape (columns,) each.

    Args:
        weight: Shape (rows, columns).
        norm: `none`, `rms` or `minmax`.
    """
    bias = torch.zeros_like(weight[0])
    if norm == "none":
        return torch.ones_like(bias), bias
    scale = weight.square().mean(0).sqrt()
    if norm == "minmax":
        bias = stored_value(weight.amin(0))
        scale = weight.amax(0) - weight.amin(0)
    scale = stored_value(scale)
    return torch.where(scale > 2**-14, scale, torch.ones_like(scale)), bias


def cut(weight: Tensor, length: int) -> Tensor:
    """Return the vectors of a matrix of shape (T * length, columns) as (T, columns, length)."""
    return weight.unflatten(0, (-1, length)).transpose(1, 2)


@torch.no_grad()
def learn_books(
    weight: Tensor,
    importance: Tensor,
    layout: Layout,
    columns: Columns,
    norm: tuple[Tensor, Tensor],
    *,
    iterations: int,
    generator: Generator,
) -> Books:
    """Learn codebooks by weighted k-means on the normalised columns.

    A vector of column j counts importance[j] * scale[j]^2: the normalised metric is S H S with S = diag(scale).

    Args:
        weight: Shape (T * v, columns).
        importance: Weight of a column's squared error, shape (columns,).
        layout: Sizes of the codebooks.
        columns: Which column uses which.
        norm: Scale and bias of each column.
        iterations: Most iterations of k-means.
        generator: Randomness.

    Source: Liu et al., VPTQ, arXiv 2409.17066, section 3.2 (Hessian-weighted k-means), 3.3 (residual and outliers).
    """
    scale, bias = norm
    normed, weights = (weight - bias) / scale, importance * scale.square()

    def learn(points: Tensor, mass: Tensor, count: int) -> tuple[Tensor, Tensor]:
        found = kmeans(points, count, generator=generator, weights=mass, iterations=iterations)
        table = stored_value(found.centroids)
        return table, points - table[found.labels]

    main, residual = [], []
    for own in columns.group_columns():
        vectors = cut(normed[:, own], layout.vector_len)
        mass = weights[own].expand(vectors.shape[:2]).reshape(-1)
        table, rest = learn(vectors.reshape(-1, layout.vector_len), mass, layout.centroids)
        main.append(table)
        if layout.res_centroids:
            residual.append(learn(rest, mass, layout.res_centroids)[0])
    outlier = None
    if layout.outliers:
        own = columns.outlier_columns()
        vectors = cut(normed[:, own], layout.outlier_vector_len)
        mass = weights[own].expand(vectors.shape[:2]).reshape(-1)
        outlier = learn(vectors.reshape(-1, layout.outlier_vector_len), mass, layout.outlier_centroids)[0]
    return Books(torch.stack(main), torch.stack(residual) if residual else None, outlier, scale, bias)
