"""Tiles of 16 rows by 128 columns, as `skeleton.cu` reads them."""

from __future__ import annotations

import torch
from torch import Tensor

ROWS, COLUMNS = 16, 128
WORDS_BYTES = 512
"""Bytes of the words of a tile."""
CHUNK = 32
"""Tiles repacked at a time."""


def count(size: int, unit: int) -> int:
    """Return the number of units that hold `size`."""
    return -(-size // unit)


def padded(matrix: Tensor, rows: int, columns: int) -> Tensor:
    """Return a matrix with zeros below and to the right, up to multiples of `rows` and `columns`."""
    return torch.nn.functional.pad(matrix, (0, -matrix.shape[1] % columns, 0, -matrix.shape[0] % rows))


def as_words(parts: Tensor) -> Tensor:
    """Return 32-bit words of int64 values 0 .. 2^32 - 1 as int32."""
    return torch.where(parts >= 1 << 31, parts - (1 << 32), parts).to(torch.int32)


def joined(fields: Tensor, shifts: Tensor) -> Tensor:
    """Return words of fields of their last dimension, shifted by as many bits, as int32."""
    return as_words((fields.long() << shifts).sum(-1))


def half_pairs(low: Tensor, high: Tensor) -> Tensor:
    """Return float16 pairs as int32, the first in the lower half."""
    return torch.stack([low.half(), high.half()], -1).contiguous().view(torch.int32)[..., 0]


def row_pairs(values: Tensor) -> Tensor:
    """Return float16 pairs of rows g and g + 8 of every tile.

    Args:
        values: Shape (tiles * 16, n).

    Returns:
        Shape (tiles, n, 8), int32.
    """
    rows = values.unflatten(0, (-1, 2, 8))
    return half_pairs(rows[:, 0], rows[:, 1]).transpose(1, 2).contiguous()


def byte_words(numbers: Tensor) -> Tensor:
    """Return bytes of code words as words: four blocks of a row and column quarter in one.

    Args:
        numbers: One number 0 .. 255 for eight columns, shape (tiles * 16, groups * 16).

    Returns:
        Shape (tiles, groups, 32, 2): of lane 4 g + t rows g and g + 8, byte b that of columns 32 b + 8 t and on; int32.
    """
    # (tile, r, g, group, b, t)
    fields = numbers.view(len(numbers) // ROWS, 2, 8, numbers.shape[1] // 16, 4, 4).permute(0, 3, 2, 5, 1, 4)
    shifts = 8 * torch.arange(4, device=numbers.device)
    return torch.cat([joined(part, shifts) for part in fields.split(CHUNK)]).flatten(2, 3)


def settled(tensors: tuple[Tensor, ...]) -> None:
    """Wait until tensors on a GPU are written: kernels read them before they wait for the kernel in front of them."""
    for device in {tensor.device for tensor in tensors if tensor.is_cuda}:
        torch.cuda.current_stream(device).synchronize()
