"""The public AQLM format: one scheme for a whole model, groups of eight, signed codes.

Per linear `codes` (out, in / 8, M) int8 or int16, two's complement; `codebooks` (M, 2^B, 1, 8) and `scales`
(out, 1, 1, 1), float16. Our per-matrix schemes are rewritten exactly: a codebook of shorter vectors becomes one per
place, zero elsewhere; two codebooks become the one of all their sums; missing code words and codebooks are zero.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from qharness.errors import UsageError
from qharness_aqlm.scheme import Scheme

GROUP = 8
SUPPORTED_BITS = (8, 16)
"""Widths of codes that the public kernels know."""

Books = list[tuple[Tensor, Tensor]]
"""Codebooks of a linear, each with its codes: (2^b, 8) and (rows, groups)."""


def common_scheme(schemes: Iterable[Scheme]) -> Scheme:
    """Return the smallest scheme of the public format that holds all of these.

    Raises:
        UsageError: Codes of more than 16 bits would be needed.
    """
    known = set(schemes)
    limit = next((bits for bits in SUPPORTED_BITS if bits >= max(s.bits for s in known)), None)
    if limit is None:
        raise UsageError("The AQLM format holds codes of at most 16 bits.")
    counts = [len(merged_bits([s.bits] * (s.codebooks * GROUP // s.group), limit)) for s in known]
    return Scheme(max(counts), limit, GROUP)


def merged_bits(bits: list[int], limit: int) -> list[int]:
    """Return the bits of codebooks after neighbours are merged as long as their bits together are within the limit."""
    merged: list[int] = []
    for own in bits:
        if merged and merged[-1] + own <= limit:
            merged[-1] += own
        else:
            merged.append(own)
    return merged


def to_public(codes: Tensor, codebooks: Tensor, target: Scheme) -> tuple[Tensor, Tensor]:
    """Return codes and codebooks in the public layout.

    Args:
        codes: Shape (rows, groups, M), 0 .. K - 1.
        codebooks: Shape (M, K, group).
        target: What `common_scheme` gave.

    Returns:
        Codes, shape (rows, columns / 8, target.codebooks), int8 or int16; codebooks, shape
        (target.codebooks, 2^target.bits, 1, 8), float16.
    """
    merged: Books = []
    for book, own in _wide(codes.long(), codebooks.float()):
        if merged and len(merged[-1][0]) * len(book) <= 2**target.bits:
            before, earlier = merged[-1]
            sums = (before[:, None] + book[None]).flatten(0, 1)
            merged[-1] = (sums, earlier * len(book) + own)
        else:
            merged.append((book, own))
    found = torch.zeros(target.codebooks, 2**target.bits, GROUP)
    indices = torch.zeros(*merged[0][1].shape, target.codebooks, dtype=torch.int64)
    for place, (book, own) in enumerate(merged):
        found[place, : len(book)] = book
        indices[:, :, place] = own
    return _signed(indices, target.bits), found.half()[:, :, None]


def from_public(codes: Tensor, codebooks: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes (rows, groups, M) int64, codebooks (M, K, group) and scales (rows,) of a public checkpoint's linear.

    Raises:
        UsageError: A code covers several outputs, or the scales are per group.
    """
    if codebooks.shape[2] != 1 or scales.numel() != len(codes):
        raise UsageError("Only AQLM checkpoints with out_group_size 1 and one scale per output are read.")
    return codes.long() % codebooks.shape[1], codebooks[:, :, 0], scales.flatten()


def _wide(codes: Tensor, codebooks: Tensor) -> Books:
    size = codebooks.shape[2]
    places = GROUP // size
    split = codes.unflatten(1, (-1, places))
    books: Books = []
    for place in range(places):
        for index, book in enumerate(codebooks):
            wide = torch.zeros(len(book), GROUP)
            wide[:, place * size : (place + 1) * size] = book
            books.append((wide, split[:, :, place, index]))
    return books


def _signed(codes: Tensor, bits: int) -> Tensor:
    return torch.where(codes >= 2 ** (bits - 1), codes - 2**bits, codes).to(torch.int8 if bits <= 8 else torch.int16)
