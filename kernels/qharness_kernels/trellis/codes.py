"""Trellis codes: what weights a state stands for, in exact integer arithmetic.

A state x < 2^16 is turned into pseudo-random bits by a multiplication modulo 2^32, and those into a number that is
about normal. Source of 1MAD, 3INST and HYB: Tseng et al., QTIP, arXiv 2406.11235, sections 3.1.1 and 3.1.2;
mul1 is the default code of ExLlamaV3's EXL3 format.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MASK = (1 << 32) - 1
LUT_BITS = 9


def decode_1mad(state: Tensor) -> Tensor:
    """Return the sum of the four bytes of 34038481 x + 76625530, centred and scaled, float32.

    Args:
        state: Integers, any shape.
    """
    mixed = (state.long() * 34038481 + 76625530) & MASK
    return (_byte_sum(mixed) - 510).float() / 147.800537109375


def decode_3inst(state: Tensor) -> Tensor:
    """Return the sum of two float16 numbers made of the bits of 89226354 x + 64248484, float32.

    Sign and the four low exponent and ten mantissa bits are random where the mask 0x8FFF has ones; the rest is that
    of 0x3B60.

    Args:
        state: Integers, any shape.
    """
    mixed = (state.long() * 89226354 + 64248484) & MASK
    bits = (mixed & 0x8FFF8FFF) ^ 0x3B603B60
    return (_half(bits >> 16) + _half(bits & 0xFFFF)).float()


def decode_mul1(state: Tensor) -> Tensor:
    """Return the sum of the four bytes of 0x83DCD12D x, times 0.00677 less 3.4575, as one float16 operation, float32.

    Args:
        state: Integers, any shape.
    """
    mixed = (state.long() * 0x83DCD12D) & MASK
    scale, offset = (torch.tensor(number, dtype=torch.float16).double() for number in (0.00677, -10.39))
    return ((1024 + _byte_sum(mixed)).double() * scale.item() + offset.item()).half().float()


def hybrid_index(state: Tensor, lut_bits: int = LUT_BITS) -> tuple[Tensor, Tensor]:
    """Return the row of the table and the sign of the first weight of each state of the HYB code.

    With h = x (x + 1) the row is bits 15 - lut_bits to 14 of h, and the sign is negative where bit 15 is set.

    Args:
        state: Integers, any shape.
        lut_bits: Base-2 logarithm of the table's rows.

    Returns:
        Rows, int64, and signs, float32, both of the shape of `state`.
    """
    mixed = state.long() * (state.long() + 1)
    sign = 1.0 - 2.0 * ((mixed >> 15) & 1).float()
    return (mixed >> (15 - lut_bits)) & ((1 << lut_bits) - 1), sign


def decode_hybrid(state: Tensor, lut: Tensor) -> Tensor:
    """Return the two weights of each state of the HYB code, shape (..., 2), in the type of `lut`.

    Differentiable with respect to `lut`.

    Args:
        state: Integers, any shape.
        lut: Table, shape (2^lut_bits, 2).
    """
    row, sign = hybrid_index(state, lut.shape[0].bit_length() - 1)
    weights = lut[row]
    return torch.stack([weights[..., 0] * sign.to(lut.dtype), weights[..., 1]], -1)


COMPUTED: dict[str, Callable[[Tensor], Tensor]] = {
    "1mad": decode_1mad,
    "3inst": decode_3inst,
    "mul1": decode_mul1,
}


def decode_states(name: str, state: Tensor, lut: Tensor | None = None) -> Tensor:
    """Return the weights of states, shape (..., V).

    Args:
        name: `1mad`, `3inst`, `mul1` (V = 1) or `hyb` (V = 2).
        state: Integers, any shape.
        lut: Table of `hyb`, shape (2^lut_bits, 2); None for the others.

    Raises:
        ValueError: There is no such code, or `hyb` got no table.
    """
    if name == "hyb":
        if lut is None:
            raise ValueError("The code 'hyb' needs its table")
        return decode_hybrid(state, lut)
    if name not in COMPUTED:
        raise ValueError(f"There is no trellis code '{name}'; there are {', '.join(COMPUTED)} and hyb")
    return COMPUTED[name](state)[..., None]


def _byte_sum(words: Tensor) -> Tensor:
    return (words & 255) + ((words >> 8) & 255) + ((words >> 16) & 255) + (words >> 24)


def _half(bits: Tensor) -> Tensor:
    """Read 16-bit integers as float16."""
    return ((bits ^ 0x8000) - 0x8000).to(torch.int16).view(torch.float16)
