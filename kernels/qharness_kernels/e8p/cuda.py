"""The product on an NVIDIA GPU of compute capability 9.0 or higher."""

from __future__ import annotations

from torch import Tensor

from qharness_kernels.e8p.layout import Prepared
from qharness_kernels.matvec.decode import Code, Matrix, decode


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T for 1 to 16 rows of x; float16 or bfloat16, shape (rows, out_features)."""
    code = Code("e8p", True, (("ONE_SCALE", int(len(prepared.scales) == 1)),))
    table, scales = prepared.table, prepared.scales
    matrix = Matrix(prepared.payload, table, table, scales, prepared.out_features, prepared.in_features)
    return decode(x, code, matrix)
