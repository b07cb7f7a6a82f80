"""Two-bit codes as tiles that `kernel.cu` and `triton.py` read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qharness_kernels.int2.reference import unpacked, zero_points
from qharness_kernels.matvec.tiles import CHUNK, COLUMNS, ROWS, half_pairs, joined, padded, settled


@dataclass(frozen=True)
class Prepared:
    """A matrix of tiles.

    Attributes:
        payload: Codes, shape (tiles, groups of 128 columns, 32, 4), int32.
        side: Pairs (scale, zero) of float16, shape (tiles, n, 8, segments, 2) for rows g and g + 8, int32.
        columns: Columns of x in the order of the tiles, shape (in_features,), int64; None where that is theirs.
        group: Columns that share a scale.
        out_features: Rows.
        in_features: Columns.
    """

    payload: Tensor
    side: Tensor
    columns: Tensor | None
    group: int
    out_features: int
    in_features: int


def supported(bits: int, group: int, in_features: int) -> str:
    """Return why the kernels do not take a grid, or an empty string."""
    if bits != 2:
        return f"codes of {bits} bits have no kernel, only those of 2"
    if in_features % 8:
        return f"{in_features} columns are not a multiple of 8"
    if group not in (32, 64) and group % COLUMNS and group != in_features:
        return f"groups of {group} columns are neither 32, 64, a multiple of 128, nor whole rows"
    return ""


def prepare(
    codes: Tensor, scales: Tensor, zeros: Tensor | None, g_idx: Tensor | None, *, group: int, zero: float | None = None
) -> Prepared:
    """Return the tiles of codes; arguments as `reference.dequantize` takes them."""
    out_features, groups = scales.shape
    in_features = groups * group
    columns = None if g_idx is None else g_idx.long().argsort(stable=True)
    flat = unpacked(codes, in_features)
    flat = padded(flat if columns is None else flat[:, columns], ROWS, COLUMNS)
    # (tile, r, g, group, h, q, t, p, e): row 8 r + g, column 64 h + 32 q + 8 t + 2 p + e.
    fields = flat.view(len(flat) // ROWS, 2, 8, flat.shape[1] // COLUMNS, 2, 2, 4, 4, 2)
    fields = fields.permute(0, 3, 2, 6, 4, 1, 5, 7, 8)
    shifts = 8 * torch.arange(2)[:, None, None] + 2 * torch.arange(4)[:, None] + 16 * torch.arange(2)
    payload = torch.cat([joined(part.flatten(-3), shifts.flatten().to(codes.device)) for part in fields.split(CHUNK)])
    side = _side(padded(scales.float(), ROWS, 1), padded(zero_points(scales, zeros, zero), ROWS, 1), group)
    settled((payload, side))
    return Prepared(payload.flatten(4).flatten(2, 3), side, columns, group, out_features, in_features)


def _side(scales: Tensor, zeros: Tensor, group: int) -> Tensor:
    segments = max(COLUMNS // group, 1)
    pairs = padded(half_pairs(scales, zeros), 1, segments)
    return pairs.view(len(pairs) // ROWS, 2, 8, -1, segments).permute(0, 3, 2, 4, 1).contiguous()
