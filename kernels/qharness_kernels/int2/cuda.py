"""Products with two-bit codes on an NVIDIA GPU of compute capability 9.0 or higher."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from qharness_kernels.int2.layout import Prepared
from qharness_kernels.int2.triton import dequantize
from qharness_kernels.matvec import decode
from qharness_kernels.registry import operator

__all__ = ["dequantize", "matmul"]

SOURCE = Path(__file__).with_name("kernel.cu")


def _empty(x: Tensor, payload: Tensor, side: Tensor, group: int, out_features: int) -> Tensor:
    return x.new_empty(len(x), out_features)


@operator("int2_matmul", _empty)
def _matmul(x: Tensor, payload: Tensor, side: Tensor, group: int, out_features: int) -> Tensor:
    code = decode.Code(SOURCE, False, (("GROUP", group),))
    matrix = decode.Matrix(payload, side, None, None, out_features, x.shape[1])
    prepared = Prepared(payload, side, None, group, out_features, x.shape[1])
    return decode.matmul(x, code, matrix, lambda dtype: dequantize(prepared, dtype))


def matmul(x: Tensor, prepared: Prepared) -> Tensor:
    """Return x W^T.

    Args:
        x: Shape (rows, in_features), float16 or bfloat16.
        prepared: The matrix.

    Returns:
        Shape (rows, out_features), of x's type.
    """
    x = x if prepared.columns is None else x[:, prepared.columns]
    product: Tensor = _matmul(x, prepared.payload, prepared.side, prepared.group, prepared.out_features)
    return product
