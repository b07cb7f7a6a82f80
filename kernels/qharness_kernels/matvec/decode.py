"""Compile and launch the product of 1 to 16 rows with a matrix of tiles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

from qharness_kernels.matvec.nvrtc import Kernel, compile_source
from qharness_kernels.matvec.plan import Plan, plan
from qharness_kernels.matvec.tiles import COLUMNS, ROWS, count

MOST_ROWS = 16
SHARED_LIMIT = 227 * 1024
TABLE_BYTES = 1 << 16


@dataclass(frozen=True)
class Code:
    """A code that `skeleton.cu` is compiled for.

    Attributes:
        operation: Folder of its `kernel.cu`.
        has_table: Whether it keeps a table in shared memory.
        defines: Numbers that its source takes.
    """

    operation: str
    has_table: bool
    defines: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Matrix:
    """A packed matrix on a GPU.

    Attributes:
        payload: Shape (tiles, groups, 32, 4), int32.
        side: Scales as the code lays them out, int32.
        table: Table as the code lays it out, int32.
        row_scales: float16.
        out_features: Rows of the matrix.
        in_features: Columns of the matrix, a multiple of 8.
    """

    payload: Tensor
    side: Tensor
    table: Tensor
    row_scales: Tensor
    out_features: int
    in_features: int


def source(code: Code, out_features: int, in_features: int, dtype: torch.dtype, eights: int, plan: Plan) -> str:
    """Return the CUDA C of one size."""
    defines = {
        "IN": in_features,
        "OUT": out_features,
        "GROUPS": count(in_features, COLUMNS),
        "ROW_TILES": plan.row_tiles,
        "SPLIT": plan.split,
        "WARPS": plan.warps,
        "BLOCKS": plan.blocks,
        "NT": eights,
        "BF16": int(dtype == torch.bfloat16),
        "CLUSTER": f"__cluster_dims__({plan.split}, 1, 1)" if plan.split > 1 else "",
        **dict(code.defines),
    }
    package = files("qharness_kernels")
    parts = ["matvec/skeleton.cu", *["matvec/table.cu"] * code.has_table, f"{code.operation}/kernel.cu"]
    texts = [(package / part).read_text() for part in (*parts, "matvec/decode.cu")]
    return "\n".join([*(f"#define {name} {value}" for name, value in defines.items()), *texts])


def shared_bytes(code: Code, rows: int, plan: Plan) -> int:
    """Return the bytes of shared memory of a block: the table, the sums of every warp, and those of the block."""
    sums = plan.warps * rows * (plan.row_tiles * ROWS + 4) + rows * plan.row_tiles * ROWS
    return TABLE_BYTES * code.has_table + 4 * sums


@cache
def _kernel(
    code: Code, out_features: int, in_features: int, dtype: torch.dtype, eights: int, plan: Plan, device: torch.device
) -> Kernel:
    major, minor = torch.cuda.get_device_capability(device)
    text = source(code, out_features, in_features, dtype, eights, plan)
    with torch.cuda.device(device):
        return Kernel(compile_source(text, f"sm_{major}{minor}"), "decode", shared_bytes(code, 8 * eights, plan))


def product(x: Tensor, code: Code, matrix: Matrix, plan: Plan, *, overlap: bool = False) -> Tensor:
    """Return x W^T.

    Args:
        x: Shape (1 .. 16, in_features), float16 or bfloat16, contiguous, on the matrix's GPU.
        code: The code.
        matrix: The matrix.
        plan: How to divide the work.
        overlap: Start while the kernel before ends.

    Returns:
        Shape (rows, out_features), of x's type.
    """
    rows = len(x)
    y = torch.empty(rows, matrix.out_features, dtype=x.dtype, device=x.device)
    eights = count(rows, 8)
    kernel = _kernel(code, matrix.out_features, matrix.in_features, x.dtype, eights, plan, x.device)
    blocks = count(count(matrix.out_features, ROWS), plan.row_tiles) * plan.split
    tensors = (matrix.payload, matrix.side, matrix.table, x, y, matrix.row_scales)
    kernel.launch(
        blocks,
        plan.warps * 32,
        shared_bytes(code, rows, plan),
        torch.cuda.current_stream(x.device).cuda_stream,
        [*(tensor.data_ptr() for tensor in tensors), rows],
        overlap=overlap,
    )
    return y


def decode(x: Tensor, code: Code, matrix: Matrix) -> Tensor:
    """Return x W^T by products of up to 16 rows; arguments as `product` takes them, with any number of rows."""
    parts = [
        product(part, code, matrix, plan(matrix.out_features, matrix.in_features, len(part)))
        for part in x.contiguous().split(MOST_ROWS)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
