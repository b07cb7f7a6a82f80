"""The product on an NVIDIA GPU of compute capability 9.0 or higher."""

from __future__ import annotations

from torch import Tensor

from qharness_kernels.iq2_xxs.layout import Prepared
from qharness_kernels.matvec.decode import Code, Matrix, decode

CODE = Code("iq2_xxs", True)


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T for 1 to 16 rows of x; float16 or bfloat16, shape (rows, out_features)."""
    table = prepared.table
    matrix = Matrix(prepared.payload, prepared.side, table, table, prepared.out_features, prepared.in_features)
    return decode(x, CODE, matrix)
