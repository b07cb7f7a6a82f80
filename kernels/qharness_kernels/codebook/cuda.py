"""Matrices of additive codes in CUDA C++: products with up to 16 rows of activations, and expansion for more.

Codebooks of 8 bits are copied to shared memory, eight times, so that no two of the eight lanes that are served at once
share a bank. A codebook of 16 bits, 1 MB, is read through the caches.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from qharness_kernels.codebook.layout import CHUNK, SIDE, Prepared
from qharness_kernels.nvrtc import Program, program

SOURCE = Path(__file__).with_name("kernel.cu")
DECODE_ROWS = 16
COLUMNS = 8
COPIES_BYTES = 128
STAGED_BITS = 9
EXPAND_THREADS = 512


class Plan(NamedTuple):
    """How a product is cut.

    Attributes:
        tiles: Tiles of 16 outputs of a block.
        slabs: Groups of 8 columns of activations.
        warps: Warps of a block, which share the inputs.
        ahead: Chunks of inputs that a warp has on the way.
        resident: Blocks that a multiprocessor can hold.
        eager: Whether a warp reads the activations of its next chunk early.
    """

    tiles: int
    slabs: int
    warps: int
    ahead: int
    resident: int = 1
    eager: int = 0


def plan(out_features: int, in_features: int, rows: int, processors: int) -> Plan:
    """Return how a product is cut: one block a multiprocessor, all inputs in it, so that nothing is added across.

    Args:
        out_features: Outputs.
        in_features: Inputs.
        rows: Rows of activations, 1 to 16.
        processors: Multiprocessors of the GPU.
    """
    slabs = -(-rows // COLUMNS)
    tiles = min(-(-out_features // (SIDE * processors)), 8 // slabs)
    chunks = -(-in_features // CHUNK)
    return Plan(tiles, slabs, 16, 1 if tiles > 2 else min(2, -(-chunks // 16)))


def _is_staged(prepared: Prepared) -> bool:
    return prepared.bits <= STAGED_BITS


def blocks(out_features: int, cut: Plan, processors: int) -> int:
    """Return how many blocks share the tiles: one a multiprocessor where that is enough and there is work for each.

    A kernel that starts early then finds room for one block on each multiprocessor, and not for two on some.

    Args:
        out_features: Outputs.
        cut: How the product is cut.
        processors: Multiprocessors of the GPU.
    """
    tiles = -(-out_features // SIDE)
    return max(-(-tiles // cut.tiles), min(tiles, processors))


def constants(prepared: Prepared, x_type: torch.dtype, cut: Plan) -> dict[str, int]:
    """Return the constants that the kernels are compiled with."""
    return {
        "BOOKS": len(prepared.codebooks),
        "BITS": prepared.bits,
        "STAGED": int(_is_staged(prepared)),
        "BF16": int(x_type == torch.bfloat16),
        **{name.upper(): value for name, value in cut._asdict().items()},
    }


def _program(prepared: Prepared, x_type: torch.dtype, cut: Plan, device: torch.device) -> Program:
    return program(SOURCE, tuple(constants(prepared, x_type, cut).items()), device.index or 0)


def _staged_bytes(prepared: Prepared) -> int:
    return len(prepared.codebooks) * COPIES_BYTES << prepared.bits if _is_staged(prepared) else 0


def matmul(x: Tensor, prepared: Prepared, cut: Plan | None = None) -> Tensor:
    """Return x W^T.

    Up to 16 rows are multiplied by the weights as they are decoded; for more the matrix is expanded first.

    Args:
        x: Shape (rows, in_features), float16 or bfloat16.
        prepared: The matrix.
        cut: How to cut the product; None chooses by the shape.

    Returns:
        Shape (rows, out_features), in the type of `x`.
    """
    if len(x) > DECODE_ROWS:
        return x @ dequantize(prepared, x.dtype).T
    y = torch.empty(len(x), prepared.out_features, dtype=x.dtype, device=x.device)
    if not len(x):
        return y
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count
    cut = cut or plan(prepared.out_features, prepared.in_features, len(x), processors)
    partial = cut.warps * cut.tiles * SIDE * len(x) * 4
    _program(prepared, x.dtype, cut, x.device).launch(
        "multiply",
        blocks(prepared.out_features, cut, processors),
        cut.warps * 32,
        max(_staged_bytes(prepared), partial),
        prepared.words,
        prepared.codebooks,
        prepared.scales,
        x.contiguous(),
        y,
        len(x),
        prepared.out_features,
        prepared.in_features,
    )
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
