"""The payload of published QTIP checkpoints.

A linear's `trellis` there is int16 of shape (tiles, 16 * bits), tiles row by row, bits most significant first: our own
payload, flattened. Where the authors' kernels apply (`hyb`, L = 16, 16 x 16 tiles in fragment order) its bytes are
moved: every square of four tiles is cut into 32 pieces of `bits` bytes, one for each lane of a warp, the pieces of one
lane are put side by side (the lower tile first, then the right ones), and the bytes of each piece are reversed.

Source: the format of github.com/Cornell-RelaxML/qtip, rewritten from a description of it.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from qharness.errors import UsageError
from qharness_kernels.trellis import LUT_BITS, Trellis

LANES = 32


def has_kernel_layout(code: str, trellis: Trellis, table: Tensor | None) -> bool:
    """Return whether the authors' kernels read this code: then its bytes are moved, and tiles are in fragment order."""
    return code == "hyb" and trellis.state_bits == 16 and table is not None and len(table) == 1 << LUT_BITS


def to_public(payload: Tensor, *, moved: bool) -> Tensor:
    """Return a payload as published checkpoints store it.

    Args:
        payload: Shape (out_features / 16, in_features / 16, 16 * bits), int16.
        moved: Whether the bytes are moved for the kernels.

    Returns:
        Shape (tiles, 16 * bits), int16.

    Raises:
        UsageError: The tiles do not come in squares of four, which the moved layout needs.
    """
    if not moved:
        return payload.flatten(0, 1)
    rows, columns, words = payload.shape
    _check_squares(rows, columns)
    pieces = _bytes(payload, most_significant_first=True).view(rows // 2, 2, columns // 2, 2, LANES, words * 2 // LANES)
    placed = pieces.permute(0, 2, 4, 3, 1, 5).flip(-1).contiguous()
    return _words(placed.view(rows * columns, words * 2), most_significant_first=False)


def from_public(trellis: Tensor, rows: int, columns: int, *, moved: bool) -> Tensor:
    """Return the payload of a published checkpoint's `trellis`; the inverse of `to_public`.

    Args:
        trellis: Shape (tiles, 16 * bits), int16.
        rows: Rows of tiles, out_features / 16.
        columns: Columns of tiles, in_features / 16.
        moved: Whether the bytes are moved for the kernels.

    Raises:
        UsageError: The tiles do not come in squares of four, which the moved layout needs.
    """
    if not moved:
        return trellis.unflatten(0, (rows, columns))
    _check_squares(rows, columns)
    words = trellis.shape[1]
    placed = _bytes(trellis, most_significant_first=False)
    pieces = placed.view(rows // 2, columns // 2, LANES, 2, 2, words * 2 // LANES).flip(-1)
    tiles = pieces.permute(0, 4, 1, 3, 2, 5).reshape(rows, columns, words * 2)
    return _words(tiles, most_significant_first=True)


def _check_squares(rows: int, columns: int) -> None:
    if rows % 2 or columns % 2:
        raise UsageError(f"The published kernel layout needs sizes of whole 32s, not {rows * 16} x {columns * 16}.")


def _bytes(words: Tensor, *, most_significant_first: bool) -> Tensor:
    found = words.contiguous().view(torch.uint8).unflatten(-1, (-1, 2))
    return (found.flip(-1) if _swapped(most_significant_first) else found).flatten(-2)


def _words(found: Tensor, *, most_significant_first: bool) -> Tensor:
    pairs = found.unflatten(-1, (-1, 2))
    return (pairs.flip(-1) if _swapped(most_significant_first) else pairs).flatten(-2).contiguous().view(torch.int16)


def _swapped(most_significant_first: bool) -> bool:
    return most_significant_first == (sys.byteorder == "little")
