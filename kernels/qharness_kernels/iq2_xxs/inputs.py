"""Random packed matrices for tests and timings."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from qharness_kernels.iq2_xxs.reference import BYTES, WEIGHTS


class Inputs(NamedTuple):
    """Arguments of `reference.matmul`."""

    x: Tensor
    blocks: Tensor


def make(
    out_features: int, in_features: int, rows: int, *, device: torch.device | str, dtype: torch.dtype, seed: int
) -> Inputs:
    """Return random inputs.

    Args:
        out_features: Rows of the matrix.
        in_features: Columns, a multiple of 256.
        rows: Rows of x.
        device: Where.
        dtype: Of x.
        seed: Of the random numbers.
    """
    generator = torch.Generator(device).manual_seed(seed)
    options: dict[str, Any] = {"device": device, "generator": generator}
    count = out_features * (in_features // WEIGHTS)
    blocks = torch.randint(0, 256, (count, BYTES), dtype=torch.uint8, **options)
    blocks[:, :2] = (torch.rand(count, 1, **options) + 0.5).mul(0.001).half().view(torch.uint8)
    x = torch.randn(rows, in_features, **options).to(dtype)
    return Inputs(x, blocks.view(out_features, -1))
