"""The nearest points of the code book of IQ2_XXS: 256 points of eight magnitudes, and signs, evenly many negative."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from qharness_kernels.iq2_xxs.reference import VECTOR, codebook


class Words(NamedTuple):
    """Code words of vectors: index of the point, shape (n,), and index of the signs, shape (n,); int64."""

    point: Tensor
    sign: Tensor


class Distances:
    """Weighted squared distances from vectors x to every point of the code book at any scale.

    With the best signs allowed, sum_j w_j (x_j - s g_j)^2 = sum_j w_j x_j^2 + s (s quadratic_g + slope_g), where an
    odd number of negative x_j costs the flip of the sign that matters least for that point.

    Args:
        vectors: Shape (..., 8).
        importance: Weights w, shape (..., 8), broadcast against `vectors`.
    """

    def __init__(self, vectors: Tensor, importance: Tensor) -> None:
        points = codebook(vectors.device).points
        self.negative = vectors < 0
        self.weighted = vectors.abs() * importance
        self.quadratic = importance @ points.square().T
        flip = self.weighted[..., :1] * points[:, 0]
        for j in range(1, VECTOR):
            flip = torch.minimum(flip, self.weighted[..., j : j + 1] * points[:, j])
        odd = self.negative.sum(-1, keepdim=True) % 2
        self.slope = (4 * odd) * flip - 2 * (self.weighted @ points.T)

    def least(self, scale: Tensor) -> Tensor:
        """Return the least distance less sum_j w_j x_j^2 over all points at the given scales > 0, shape (...)."""
        return torch.addcmul(self.slope, scale[..., None], self.quadratic).amin(-1) * scale

    def nearest(self, scale: Tensor, count: int = 1) -> Tensor:
        """Return the indices of the `count` nearest points, nearest first, shape (..., count)."""
        distances = torch.addcmul(self.slope, scale[..., None], self.quadratic)
        if count == 1:
            return distances.argmin(-1, keepdim=True)
        return distances.topk(count, dim=-1, largest=False).indices

    def signs(self, point: Tensor) -> Tensor:
        """Return the index of the best signs for each of the chosen points, shape (..., count), int64."""
        magnitudes = codebook(point.device).points[point]
        cheapest = (self.weighted[..., None, :] * magnitudes).argmin(-1, keepdim=True)
        negative = self.negative[..., None, :]
        odd = negative.sum(-1, keepdim=True) % 2 == 1
        places = torch.arange(VECTOR, device=point.device)
        negative = negative ^ (odd & (places == cheapest))
        # The eighth sign is the parity of the other seven, so their bits are the index.
        return (negative[..., :-1].long() << places[:-1]).sum(-1)


def decode_words(words: Words) -> Tensor:
    """Return the signed points of code words, shape (..., 8), float32."""
    book = codebook(words.point.device)
    return book.points[words.point] * book.signs[words.sign]
