"""The product on an NVIDIA GPU of compute capability 9.0 or higher."""

from __future__ import annotations

import torch
from torch import Tensor

from qharness_kernels.int2.layout import Prepared
from qharness_kernels.matvec.decode import Code, Matrix, decode


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T for 1 to 16 rows of x; float16 or bfloat16, shape (rows, out_features)."""
    code = Code("int2", False, (("GROUP", prepared.group),))
    empty = torch.empty(0)
    matrix = Matrix(prepared.payload, prepared.side, empty, empty, prepared.out_features, prepared.in_features)
    return decode(x if prepared.columns is None else x[:, prepared.columns], code, matrix)
