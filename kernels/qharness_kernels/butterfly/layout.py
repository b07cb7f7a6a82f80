"""The parameters of a butterfly as the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qharness_kernels.butterfly.reference import butterfly_split, cayley
from qharness_kernels.hadamard.tiles import LARGEST_ORDER, TYPES, padded

LARGEST_POWER = 14


@dataclass(frozen=True)
class Prepared:
    """A butterfly of n = K * 2^m numbers, ready for kernels.

    Attributes:
        size: n.
        cosines: Shape (m, 2^(m-1)), float32.
        sines: Likewise.
        factor: C_K, zero-padded to a power of two, float32; empty where K is 1.
    """

    size: int
    cosines: Tensor
    sines: Tensor
    factor: Tensor


def prepare(angles: Tensor, skew: Tensor, size: int, device: torch.device | str) -> Prepared:
    """Prepare the parameters of `butterfly_transform` for kernels.

    Args:
        angles: Shape (m, 2^(m-1)).
        skew: Shape (K (K - 1) / 2,).
        size: n.
        device: Where the kernels run.
    """
    split = butterfly_split(size)
    angles = angles.detach().double().cpu()
    factor = torch.zeros(0)
    if split.k > 1:
        factor = torch.zeros(padded(split.k), padded(split.k), dtype=torch.float64)
        factor[: split.k, : split.k] = cayley(skew.detach().double().cpu(), split.k)
    return Prepared(size, *(part.float().to(device) for part in (angles.cos(), angles.sin(), factor)))


def refusal(size: int, dtype: torch.dtype) -> str:
    """Return why the kernels have no butterfly of a size, as a clause; empty if they have."""
    if dtype not in TYPES:
        return f"the butterfly kernel has no type {str(dtype).removeprefix('torch.')}"
    split = butterfly_split(size)
    if split.k > LARGEST_ORDER or split.stages > LARGEST_POWER:
        return f"a butterfly of {size} = {split.k} * 2^{split.stages} numbers does not fit on chip"
    return ""
