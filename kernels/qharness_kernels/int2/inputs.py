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
    zeros: Tensor
    g_idx: Tensor | None
    group: int


def make(
    out_features: int,
    in_features: int,
    rows: int,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    seed: int,
    group: int = 128,
    ordered: bool = True,
) -> Inputs:
    """Return random inputs with float16 zeros between 0 and 3.

    Args:
        out_features: Rows of the matrix.
        in_features: Columns, a multiple of 16 and of `group`.
        rows: Rows of x.
        device: Where.
        dtype: Of x.
        seed: Of the random numbers.
        group: Columns of a group.
        ordered: Whether groups are runs of columns.
    """
    generator = torch.Generator(device).manual_seed(seed)
    options: dict[str, Any] = {"device": device, "generator": generator}
    groups = in_features // group
    codes = torch.randint(-(2**31), 2**31, (out_features, in_features // 16), dtype=torch.int32, **options)
    scales = (torch.rand(out_features, groups, **options) + 0.5).mul(0.02).half()
    zeros = torch.rand(out_features, groups, **options).mul(3).half()
    g_idx = None
    if not ordered:
        g_idx = (torch.randperm(in_features, **options) // group).to(torch.int16)
    x = torch.randn(rows, in_features, **options).to(dtype)
    return Inputs(x, codes, scales, zeros, g_idx, group)
