"""Trellis-coded matrices in CUDA C++: products with up to 16 rows of activations, and expansion for more."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from qharness_kernels.nvrtc import Program, program
from qharness_kernels.plans import DECODE_ROWS, SIDE, Plan, blocks, plan
from qharness_kernels.trellis.layout import Prepared

SOURCE = Path(__file__).with_name("kernel.cu")
CODES = {"hyb": 0, "1mad": 1, "3inst": 2, "mul1": 3}
COPIES_BYTES = 128
PATTERN = 0x3B603B60
SHIFTED = -(89226354 << 16) & 0xFFFFFFFF
EXPAND_THREADS = 512
MOST_ROWS, MOST_COMPUTED_ROWS = 112, 96
"""Rows up to which products by sixteens take less time than the expansion of the matrix (H100), with a table of values
and with computed ones.
"""


def constants(prepared: Prepared, x_type: torch.dtype, cut: Plan) -> dict[str, int]:
    """Return the constants that the kernels are compiled with."""
    trellis, lut = prepared.trellis, prepared.lut
    return {
        "CODE": CODES[prepared.code],
        "BITS": trellis.bits,
        "VECTOR": trellis.vector,
        "STATE": trellis.state_bits,
        "LUT": 0 if lut is None else len(lut).bit_length() - 1,
        "SIGNED": 0,
        "ROWWISE": int(prepared.order == "rows"),
        "BF16": int(x_type == torch.bfloat16),
        **cut.constants(),
    }


def _program(prepared: Prepared, x_type: torch.dtype, cut: Plan, device: torch.device) -> Program:
    return program(SOURCE, tuple(constants(prepared, x_type, cut).items()), device.index or 0)


def _table_bytes(prepared: Prepared) -> int:
    return 0 if prepared.lut is None else len(prepared.lut) * COPIES_BYTES


def _launch(x: Tensor, prepared: Prepared, y: Tensor, cut: Plan) -> None:
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count
    partial = cut.warps * cut.tiles * SIDE * len(x) * 4
    _program(prepared, x.dtype, cut, x.device).launch(
        "multiply",
        blocks(prepared.out_features, cut, processors),
        cut.warps * 32,
        max(_table_bytes(prepared), partial),
        prepared.words,
        prepared.lut,
        prepared.scale,
        x,
        y,
        len(x),
        prepared.out_features,
        prepared.in_features,
        PATTERN,
        SHIFTED,
    )


def matmul(x: Tensor, prepared: Prepared, cut: Plan | None = None) -> Tensor:
    """Return x W^T.

    Up to 16 rows are multiplied by the weights as they are decoded, more rows by sixteens; from where that is slower
    on, the matrix is expanded first.

    Args:
        x: Shape (rows, in_features), float16 or bfloat16, on the GPU.
        prepared: The matrix, on the same device.
        cut: How to cut products of up to 16 rows; None chooses by the shape.

    Returns:
        Shape (rows, out_features), in the type of `x`.
    """
    if len(x) > (MOST_COMPUTED_ROWS if prepared.lut is None else MOST_ROWS):
        return x @ dequantize(prepared, x.dtype).T
    y = torch.empty(len(x), prepared.out_features, dtype=x.dtype, device=x.device)
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count
    for rows, results in zip(x.contiguous().split(DECODE_ROWS), y.split(DECODE_ROWS), strict=True):
        if len(rows):
            _launch(rows, prepared, results, cut or plan(prepared.out_features, len(rows), processors))
    return y


def dequantize(prepared: Prepared, dtype: torch.dtype) -> Tensor:
    """Return the matrix, shape (out_features, in_features).

    Args:
        prepared: The matrix.
        dtype: float16 or bfloat16.
    """
    device = prepared.words.device
    weight = torch.empty(prepared.out_features, prepared.in_features, dtype=dtype, device=device)
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    _program(prepared, dtype, Plan(1, 1, 16, 1), device).launch(
        "expand",
        2 * processors,
        EXPAND_THREADS,
        _table_bytes(prepared),
        prepared.words,
        prepared.lut,
        prepared.scale,
        weight,
        prepared.out_features,
        prepared.in_features,
    )
    return weight
