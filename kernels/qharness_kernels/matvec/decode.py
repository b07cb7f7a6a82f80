"""Compile and launch the product of 1 to 16 rows with a matrix of tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qharness_kernels.matvec.plan import Plan, plan
from qharness_kernels.matvec.tiles import COLUMNS, ROWS, WORDS_BYTES, count
from qharness_kernels.nvrtc import program

MOST_ROWS = 16
DECODE_ROWS = 128
"""Rows up to which products by sixteens are faster than the whole matrix on an H100."""
EIGHT = 8
TABLE_BYTES = 1 << 16


@dataclass(frozen=True)
class Code:
    """A code that the kernel is compiled for.

    Attributes:
        source: Its `kernel.cu`.
        has_table: Whether it keeps a table in shared memory.
        defines: Numbers that its source takes.
    """

    source: Path
    has_table: bool
    defines: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Matrix:
    """A packed matrix on a GPU.

    Attributes:
        payload: Shape (tiles, groups, 32, 4), int32.
        side: Scales as the code lays them out, int32; None where it has none.
        table: Table as the code lays it out, int32; None where it has none.
        row_scales: float16; None where the code has none.
        out_features: Rows of the matrix.
        in_features: Columns of the matrix, a multiple of 8.
    """

    payload: Tensor
    side: Tensor | None
    table: Tensor | None
    row_scales: Tensor | None
    out_features: int
    in_features: int


def defines(
    code: Code, out_features: int, in_features: int, dtype: torch.dtype, rows: int, cut: Plan
) -> tuple[tuple[str, int], ...]:
    """Return the constants that the kernel of one size is compiled with."""
    return (
        ("IN", in_features),
        ("OUT", out_features),
        ("GROUPS", count(in_features, COLUMNS)),
        ("NT", count(rows, EIGHT)),
        ("BF16", int(dtype == torch.bfloat16)),
        *((name.upper(), value) for name, value in cut._asdict().items()),
        *code.defines,
    )


def shared_bytes(code: Code, rows: int, cut: Plan) -> int:
    """Return the bytes of shared memory of a block: the table, and the copies or, after them, the sums."""
    sums = cut.warps * rows * (cut.row_tiles * ROWS + 4) + rows * cut.row_tiles * ROWS * (cut.split > 1)
    return TABLE_BYTES * code.has_table + max(cut.warps * cut.ahead * WORDS_BYTES, 4 * sums)


def product(x: Tensor, code: Code, matrix: Matrix, cut: Plan | None = None) -> Tensor:
    """Return x W^T.

    Args:
        x: Shape (1 .. 16, in_features), float16 or bfloat16, contiguous, on the matrix's GPU.
        code: The code.
        matrix: The matrix.
        cut: How to divide the work; None chooses by the size.

    Returns:
        Shape (rows, out_features), of x's type.
    """
    rows, (out_features, in_features) = len(x), (matrix.out_features, matrix.in_features)
    cut = cut or plan(out_features, in_features, rows, code.has_table)
    constants = defines(code, out_features, in_features, x.dtype, rows, cut)
    y = torch.empty(rows, out_features, dtype=x.dtype, device=x.device)
    program(code.source, constants, x.device.index or 0).launch(
        "decode",
        count(count(out_features, ROWS), cut.row_tiles) * cut.split,
        cut.warps * 32,
        shared_bytes(code, rows, cut),
        matrix.payload,
        matrix.side,
        matrix.table,
        x,
        y,
        matrix.row_scales,
        rows,
    )
    return y


def by_sixteens(x: Tensor, code: Code, matrix: Matrix) -> Tensor:
    """Return x W^T for any number of rows, by products of up to 16; arguments as `product` takes them."""
    x = x.contiguous()
    if not len(x):
        return x.new_empty(0, matrix.out_features)
    parts = [product(part, code, matrix) for part in x.split(MOST_ROWS)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def matmul(x: Tensor, code: Code, matrix: Matrix, dequantize: Callable[[torch.dtype], Tensor]) -> Tensor:
    """Return x W^T for any number of rows: by products of up to 16, or of the whole matrix where that is faster.

    Args:
        x: Shape (rows, in_features), float16 or bfloat16, on the matrix's GPU.
        code: The code.
        matrix: The matrix.
        dequantize: Returns the whole matrix in a type.
    """
    return by_sixteens(x, code, matrix) if len(x) <= DECODE_ROWS else x @ dequantize(x.dtype).T
