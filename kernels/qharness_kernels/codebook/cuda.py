"""Matrices of additive codes in CUDA C++: products with up to 16 rows of activations, and expansion for more.

Codebooks of 8 bits are copied to shared memory, eight times, so that no two of the eight lanes that are served at once
share a bank. A codebook of 16 bits, 1 MB, is read through the caches.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from qharness_kernels.codebook.layout import Prepared
from qharness_kernels.nvrtc import Program, program
from qharness_kernels.plans import DECODE_ROWS, SIDE, Plan, blocks, plan

SOURCE = Path(__file__).with_name("kernel.cu")
COPIES_BYTES = 128
STAGED_BITS = 9
EXPAND_THREADS = 512
MOST_ROWS, MOST_ROWS_THROUGH_CACHES = 96, 32
"""Rows up to which products by sixteens take less time than the expansion of the matrix (H100)."""


def _is_staged(prepared: Prepared) -> bool:
    return prepared.bits <= STAGED_BITS


def _cut(prepared: Prepared, rows: int, processors: int) -> Plan:
    """Return the common plan, changed where codebooks gain by it on an H100.

    Activations are read late. Blocks of two tiles with staged codebooks are small enough for one of the next product
    beside them; codebooks read through the caches have at most 16 warps.
    """
    cut = plan(prepared.out_features, rows, processors)._replace(eager=0)
    if _is_staged(prepared):
        return cut._replace(warps=8, resident=2) if cut.tiles == 2 else cut
    return cut._replace(warps=min(cut.warps, 16))


def constants(prepared: Prepared, x_type: torch.dtype, cut: Plan) -> dict[str, int]:
    """Return the constants that the kernels are compiled with."""
    return {
        "BOOKS": len(prepared.codebooks),
        "BITS": prepared.bits,
        "STAGED": int(_is_staged(prepared)),
        "BF16": int(x_type == torch.bfloat16),
        **cut.constants(),
    }


def _program(prepared: Prepared, x_type: torch.dtype, cut: Plan, device: torch.device) -> Program:
    return program(SOURCE, tuple(constants(prepared, x_type, cut).items()), device.index or 0)


def _staged_bytes(prepared: Prepared) -> int:
    return len(prepared.codebooks) * COPIES_BYTES << prepared.bits if _is_staged(prepared) else 0


def _launch(x: Tensor, prepared: Prepared, y: Tensor, cut: Plan) -> None:
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count
    partial = cut.warps * cut.tiles * SIDE * len(x) * 4
    _program(prepared, x.dtype, cut, x.device).launch(
        "multiply",
        blocks(prepared.out_features, cut, processors),
        cut.warps * 32,
        max(_staged_bytes(prepared), partial),
        prepared.words,
        prepared.codebooks,
        prepared.scales,
        x,
        y,
        len(x),
        prepared.out_features,
        prepared.in_features,
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
    if len(x) > (MOST_ROWS if _is_staged(prepared) else MOST_ROWS_THROUGH_CACHES):
        return x @ dequantize(prepared, x.dtype).T
    y = torch.empty(len(x), prepared.out_features, dtype=x.dtype, device=x.device)
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count
    for rows, results in zip(x.contiguous().split(DECODE_ROWS), y.split(DECODE_ROWS), strict=True):
        if len(rows):
            _launch(rows, prepared, results, cut or _cut(prepared, len(rows), processors))
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
        _staged_bytes(prepared),
        prepared.words,
        prepared.codebooks,
        prepared.scales,
        weight,
        prepared.out_features,
        prepared.in_features,
    )
    return weight
