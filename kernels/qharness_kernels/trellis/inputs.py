"""Random trellis-coded matrices and activations, for tests and measurements."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from qharness_kernels.trellis.reference import SIDE, TileOrder
from qharness_kernels.trellis.shape import Trellis
from qharness_kernels.trellis.table import gaussian_table


class Inputs(NamedTuple):
    """Activations and the arguments of `reference.dequantize`.

    Attributes:
        x: Shape (rows, in_features).
        payload: Shape (out_features / 16, in_features / 16, 16 * bits), int16; every ring of bits is a walk.
        scale: Shape (1,), float32.
        lut: Table of `hyb`, or None.
        trellis: The trellis.
        code: Name of the code.
        order: Order of a tile's weights.
    """

    x: Tensor
    payload: Tensor
    scale: Tensor
    lut: Tensor | None
    trellis: Trellis
    code: str
    order: TileOrder


def make(
    out_features: int,
    in_features: int,
    rows: int,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    seed: int,
    code: str = "hyb",
    bits: int = 2,
    state_bits: int = 16,
    order: TileOrder = "fragment",
) -> Inputs:
    """Return a random matrix and normal activations.

    Args:
        out_features: Outputs, a multiple of 16.
        in_features: Inputs, a multiple of 16.
        rows: Rows of activations.
        device: Where the tensors are.
        dtype: Type of the activations.
        seed: Seed of the random numbers.
        code: Name of the code.
        bits: Bits of a weight.
        state_bits: Bits of a state.
        order: Order of a tile's weights.
    """
    generator = torch.Generator(device).manual_seed(seed)
    shape = (out_features // SIDE, in_features // SIDE, SIDE * bits)
    payload = torch.randint(-(1 << 15), 1 << 15, shape, generator=generator, device=device, dtype=torch.int16)
    x = torch.randn(rows, in_features, generator=generator, device=device).to(dtype)
    is_hybrid = code == "hyb"
    scale = torch.tensor([in_features**-0.5], device=device)
    lut = gaussian_table().to(device) if is_hybrid else None
    return Inputs(x, payload, scale, lut, Trellis(state_bits, bits, 2 if is_hybrid else 1), code, order)
