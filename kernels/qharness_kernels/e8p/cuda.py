"""Products with code words of E8P on an NVIDIA GPU of compute capability 9.0 or higher."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from qharness_kernels.e8p.layout import Prepared
from qharness_kernels.e8p.triton import dequantize
from qharness_kernels.matvec import decode
from qharness_kernels.registry import operator

__all__ = ["dequantize", "matmul"]

SOURCE = Path(__file__).with_name("kernel.cu")


def _empty(x: Tensor, payload: Tensor, scales: Tensor, table: Tensor, out_features: int) -> Tensor:
    return x.new_empty(len(x), out_features)


@operator("e8p_matmul", _empty)
def _matmul(x: Tensor, payload: Tensor, scales: Tensor, table: Tensor, out_features: int) -> Tensor:
    code = decode.Code(SOURCE, True, (("ONE_SCALE", int(len(scales) == 1)),))
    matrix = decode.Matrix(payload, None, table, scales, out_features, x.shape[1])
    prepared = Prepared(payload, scales, table, out_features, x.shape[1])
    return decode.matmul(x, code, matrix, lambda dtype: dequantize(prepared, dtype))


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T.

    Args:
        x: Shape (rows, in_features), float16 or bfloat16.
        prepared: The matrix.

    Returns:
        Shape (rows, out_features), of x's type.
    """
    product: Tensor = _matmul(x, prepared.payload, prepared.scales, prepared.table, prepared.out_features)
    return product
