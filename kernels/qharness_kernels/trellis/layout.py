"""Trellis-coded matrices as the kernels read them.

A lane of a warp holds 32 consecutive weights of a tile, so that its registers, decoded, are operands of matrix
instructions: lane 4 g + t has those from 32 g on of tile t of four that are side by side. Eight tiles side by side,
128 inputs, are a chunk: two such units, in which the lanes' words stand so that a warp reads them in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qharness_kernels.trellis.codes import COMPUTED
from qharness_kernels.trellis.reference import SIDE, TileOrder
from qharness_kernels.trellis.shape import Trellis

CHUNK = 128
LANES = 32
MOST_LUT_BITS = 9


@dataclass(frozen=True)
class Prepared:
    """A repacked matrix.

    Attributes:
        words: Shape (out / 16, chunks, planes, 32, words of a load), int32.
        scale: Factor of the code's weights, shape (1,), float32.
        lut: Table of `hyb`, shape (2^lut_bits, 2), float16, or None.
        trellis: The trellis.
        code: Name of the code.
        order: Order of a tile's weights.
        out_features: Outputs.
        in_features: Inputs; the last chunk is filled up with zeros.
    """

    words: Tensor
    scale: Tensor
    lut: Tensor | None
    trellis: Trellis
    code: str
    order: TileOrder
    out_features: int
    in_features: int


def supported(trellis: Trellis, code: str, lut: Tensor | None) -> str:
    """Return why the kernels cannot decode such a matrix, as a clause; empty if they can."""
    if trellis.bits not in (2, 3, 4):
        return f"the trellis kernels decode 2, 3 or 4 bits a weight, not {trellis.bits}"
    if code not in ("hyb", *COMPUTED) or trellis.vector != (2 if code == "hyb" else 1):
        return f"the trellis kernels do not know the code '{code}' with {trellis.vector} weights a step"
    if lut is not None and not 2 <= len(lut) <= 1 << MOST_LUT_BITS:
        return f"the trellis kernels hold tables of at most {1 << MOST_LUT_BITS} rows, not {len(lut)}"
    return ""


def prepare(
    payload: Tensor, scale: Tensor, lut: Tensor | None, trellis: Trellis, code: str, order: TileOrder
) -> Prepared:
    """Return the matrix as the kernels read it; the arguments are those of `reference.dequantize`.

    Raises:
        ValueError: The kernels cannot decode it.
    """
    reason = supported(trellis, code, lut)
    if reason:
        raise ValueError(reason)
    rows, columns, bits = payload.shape[0], payload.shape[1], trellis.bits
    padded = torch.nn.functional.pad(payload, (0, 0, 0, -columns % (CHUNK // SIDE))).contiguous()
    pairs = padded.view(rows, -1, 2, 4, 8, bits, 2).int()
    words = (pairs[..., 0] << 16) | (pairs[..., 1] & 0xFFFF)
    lanes = words.permute(0, 1, 4, 3, 2, 5).reshape(rows, -1, LANES, 2 * bits)
    wide = 2 if bits == 3 else 4
    placed = lanes.unflatten(3, (-1, wide)).transpose(2, 3).contiguous()
    table = None if lut is None else lut.half().contiguous()
    made = Prepared(placed, scale.float(), table, trellis, code, order, rows * SIDE, columns * SIDE)
    if made.words.is_cuda:
        # Kernels read the words before they wait for the kernel in front of them.
        torch.cuda.current_stream(made.words.device).synchronize()
    return made
