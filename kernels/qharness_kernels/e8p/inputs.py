"""Random packed matrices for tests and timings."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    """Arguments of `reference.matmul`."""

    x: Tensor
    codes: Tensor
    scales: Tensor
    in_features: int


def make(
    out_features: int,
    in_features: int,
    rows: int,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    seed: int,
    one_scale: bool = False,
) -> Inputs:
    """Return random inputs.

    Args:
        out_features: Rows of the matrix.
        in_features: Columns.
        rows: Rows of x.
        device: Where.
        dtype: Of x.
        seed: Of the random numbers.
        one_scale: Whether one scale serves all rows of the matrix.
    """
    generator = torch.Generator(device).manual_seed(seed)
    options: dict[str, Any] = {"device": device, "generator": generator}
    codes = torch.randint(-(2**15), 2**15, (out_features, -(-in_features // 8)), dtype=torch.int16, **options)
    scales = (torch.rand(1 if one_scale else out_features, **options) + 0.5).mul(0.02).half()
    x = torch.randn(rows, in_features, **options).to(dtype)
    return Inputs(x, codes, scales, in_features)
