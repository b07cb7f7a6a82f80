"""Vectors along the output dimension, VPTQ's codebooks, in plain torch: what fast kernels must agree with."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class VectorTensors(NamedTuple):
    """A matrix in VPTQ's terms, with T = ceil(rows / v) vectors in a column.

    Attributes:
        indices: Main indices of G groups of columns, shape (G, T, columns of a group), any integer type.
        centroids: Shape (G, k, v).
        res_indices: Residual indices, shaped as `indices`, or None.
        res_centroids: Shape (G, residual k, v), or None.
        outlier_indices: Indices of the outlier columns, shape (ceil(rows / v0), outliers), or None.
        outlier_centroids: Shape (k0, v0), or None.
        perm: Column that each stored column is, outliers first, shape (columns,), or None for the stored order.
        scale: Factor of each column, shape (columns,), or None.
        bias: Added to each column, shape (columns,), or None.
    """

    indices: Tensor
    centroids: Tensor
    res_indices: Tensor | None = None
    res_centroids: Tensor | None = None
    outlier_indices: Tensor | None = None
    outlier_centroids: Tensor | None = None
    perm: Tensor | None = None
    scale: Tensor | None = None
    bias: Tensor | None = None


def decode_vectors(indices: Tensor, centroids: Tensor) -> Tensor:
    """Return W with W[t * v + i, c] = centroids[indices[t, c], i].

    Args:
        indices: Shape (T, columns), any integer type.
        centroids: Shape (k, v).

    Returns:
        Shape (T * v, columns), float32.
    """
    return centroids.float()[indices.long()].transpose(1, 2).flatten(0, 1)


def decode_vptq(tensors: VectorTensors, rows: int) -> Tensor:
    """Return the matrix, shape (rows, columns), float32.

    Args:
        tensors: Indices and codebooks.
        rows: Rows of the matrix; those that the last vectors have beyond are cut off.

    Source: Liu et al., VPTQ, arXiv 2409.17066, section 3 (vectors, residual and outlier codebooks).
    """
    parts = []
    if tensors.outlier_indices is not None and tensors.outlier_centroids is not None:
        parts.append(decode_vectors(tensors.outlier_indices, tensors.outlier_centroids)[:rows])
    for group, (indices, centroids) in enumerate(zip(tensors.indices, tensors.centroids, strict=True)):
        part = decode_vectors(indices, centroids)
        if tensors.res_indices is not None and tensors.res_centroids is not None:
            part += decode_vectors(tensors.res_indices[group], tensors.res_centroids[group])
        parts.append(part[:rows])
    weight = torch.cat(parts, 1)
    if tensors.perm is not None:
        weight = weight[:, tensors.perm.long().argsort()]
    if tensors.scale is not None:
        weight = weight * tensors.scale.float()
    if tensors.bias is not None:
        weight = weight + tensors.bias.float()
    return weight.contiguous()
