"""Codes of 1 to 32 bits packed into 32-bit words."""

from __future__ import annotations

import torch
from torch import Tensor

WORD = 32


def words_for(count: int, bits: int) -> int:
    """Return the number of words that hold `count` codes."""
    return -(-count * bits // WORD)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack codes along the last dimension as one little-endian bit stream per row.

    Code i takes the bits i * bits and up; for 2, 4 and 8 bits no code straddles two words.

    Args:
        codes: Integers 0 .. 2^bits - 1, shape (..., n).
        bits: Bits per code.

    Returns:
        Shape (..., words_for(n, bits)), int32.
    """
    count = codes.shape[-1]
    padded = torch.nn.functional.pad(codes.long(), (0, -count % WORD)).unflatten(-1, (-1, WORD))
    words = torch.zeros(*padded.shape[:-1], bits, dtype=torch.int64, device=codes.device)
    for i in range(WORD):
        word, offset = divmod(i * bits, WORD)
        words[..., word] |= padded[..., i] << offset
        if offset + bits > WORD:
            words[..., word + 1] |= padded[..., i] >> (WORD - offset)
    words &= 0xFFFFFFFF
    signed = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    return signed.flatten(-2)[..., : words_for(count, bits)].contiguous()


def unpack(words: Tensor, bits: int, count: int) -> Tensor:
    """Return the codes that `pack` packed, shape (..., count), uint8; int32 for more than eight bits."""
    dtype = torch.uint8 if bits <= 8 else torch.int32
    whole = torch.nn.functional.pad(words.long() & 0xFFFFFFFF, (0, -words.shape[-1] % bits)).unflatten(-1, (-1, bits))
    codes = torch.empty(*whole.shape[:-1], WORD, dtype=dtype, device=words.device)
    for i in range(WORD):
        word, offset = divmod(i * bits, WORD)
        value = whole[..., word] >> offset
        if offset + bits > WORD:
            value = value | (whole[..., word + 1] << (WORD - offset))
        codes[..., i] = (value & (2**bits - 1)).to(dtype)
    return codes.flatten(-2)[..., :count].contiguous()
