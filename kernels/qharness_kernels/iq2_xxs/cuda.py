"""Products with blocks of IQ2_XXS on an NVIDIA GPU of compute capability 9.0 or higher."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from qharness_kernels.iq2_xxs.layout import Prepared
from qharness_kernels.iq2_xxs.triton import dequantize
from qharness_kernels.matvec import decode
from qharness_kernels.registry import operator

__all__ = ["dequantize", "matmul"]

CODE = decode.Code(Path(__file__).with_name("kernel.cu"), True)


def _empty(x: Tensor, payload: Tensor, side: Tensor, table: Tensor, out_features: int) -> Tensor:
    return x.new_empty(len(x), out_features)


@operator("iq2_xxs_matmul", _empty)
def _matmul(x: Tensor, payload: Tensor, side: Tensor, table: Tensor, out_features: int) -> Tensor:
    matrix = decode.Matrix(payload, side, table, None, out_features, x.shape[1])
    prepared = Prepared(payload, side, table, out_features, x.shape[1])
    return decode.matmul(x, CODE, matrix, lambda dtype: dequantize(prepared, dtype))


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T.

    Args:
        x: Shape (rows, in_features), float16 or bfloat16.
        prepared: The matrix.

    Returns:
        Shape (rows, out_features), of x's type.
    """
    product: Tensor = _matmul(x, prepared.payload, prepared.side, prepared.table, prepared.out_features)
    return product
