"""The layout of the public QuIP# checkpoints (relaxml/*-E8P-2Bit and their kin).

A linear stores `Qidxs` (int64), `SU` (n,), `SV` (m,), `Wscale`, `codebook_id`, and where it holds several linears side
by side `fuse_scales`. One int64 of an E8P plane holds a square of 2 rows by 2 code words: the bytes of the low half are
the patterns, and bit j of the sign byte of word i is bit 4 j + i of the high half, words counted column by column. The
squares lie in tiles of 16 rows by 4 squares, the 8 rows of squares first. The E8 plane of the 3-bit code holds eight
words of a row in an int64, the lowest byte first.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from qharness.errors import CorruptArtifact
from qharness.quantization.incoherence import Rht, restore_weight
from qharness_quip_sharp.codes import LatticeCode

CODEBOOKS = {7: 2, 17: 4, 18: 3}
"""Bits per weight by `codebook_id`."""


def unpack_e8p(plane: Tensor) -> Tensor:
    """Return the code words of an E8P plane.

    Args:
        plane: Shape (m, n / 32), int64; m a multiple of 16, n of 64.

    Returns:
        Shape (m, n / 8), int16.
    """
    rows, quarter = plane.shape
    squares = plane.view(rows // 16, quarter // 2, 8, 4).transpose(1, 2).reshape(rows // 2, quarter * 2)
    words = []
    for place in range(4):
        pattern = (squares >> (8 * place)) & 255
        signs = sum(((squares >> (32 + 4 * bit + place)) & 1) << bit for bit in range(8))
        words.append((pattern << 8) | signs)
    # Word `place` of a square is in row place % 2 and column place // 2.
    codes = torch.stack(words, -1).unflatten(-1, (2, 2)).permute(0, 3, 1, 2).reshape(rows, quarter * 4)
    return (codes - ((codes >> 15) << 16)).to(torch.int16)


def pack_e8p(codes: Tensor) -> Tensor:
    """Return the E8P plane of code words of shape (m, n / 8), int16; the inverse of `unpack_e8p`.

    Raises:
        ValueError: m is no multiple of 16, or n none of 64.
    """
    rows, words = codes.shape
    if rows % 16 or words % 8:
        raise ValueError(
            f"the public layout needs rows of whole 16s and columns of whole 64s, not {rows} x {words * 8}"
        )
    squares = (codes.long() & 0xFFFF).view(rows // 2, 2, words // 2, 2).permute(0, 2, 3, 1).flatten(2)
    plane = torch.zeros(squares.shape[:2], dtype=torch.int64, device=codes.device)
    for place in range(4):
        plane |= (squares[..., place] >> 8) << (8 * place)
        for bit in range(8):
            plane |= ((squares[..., place] >> bit) & 1) << (32 + 4 * bit + place)
    return plane.view(rows // 16, 8, words // 8, 4).transpose(1, 2).reshape(rows, words // 4)


def unpack_e8(plane: Tensor) -> Tensor:
    """Return the code words of an E8 plane of shape (m, n / 64), int64: shape (m, n / 8), int16."""
    return torch.stack([(plane >> (8 * place)) & 255 for place in range(8)], -1).flatten(1).to(torch.int16)


def pack_e8(codes: Tensor) -> Tensor:
    """Return the E8 plane of code words of shape (m, n / 8); the inverse of `unpack_e8`."""
    places = 8 * torch.arange(8, device=codes.device)
    return ((codes.long() & 255).unflatten(1, (-1, 8)) << places).sum(-1)


def pack_indices(indices: Tensor, bits: int) -> Tensor:
    """Return `Qidxs` of code words of shape (m, n / 8, 1 or 2); the inverse of `public_indices`.

    Raises:
        ValueError: m is no multiple of 16, or n none of 64.
    """
    planes = [pack_e8p(indices[..., 0])]
    if bits > 2:
        planes.append((pack_e8p if bits == 4 else pack_e8)(indices[..., 1]))
    return torch.cat(planes, 1)


def public_indices(packed: Tensor, bits: int) -> Tensor:
    """Return the code words of `Qidxs`, shape (m, n / 8, 1 or 2), int16, as `LatticeCode` decodes them."""
    if bits == 2:
        return unpack_e8p(packed)[..., None]
    split = packed.shape[1] // 2 if bits == 4 else packed.shape[1] * 2 // 3
    first, second = packed[:, :split].contiguous(), packed[:, split:].contiguous()
    return torch.stack([unpack_e8p(first), (unpack_e8p if bits == 4 else unpack_e8)(second)], -1)


def public_weight(tensors: Mapping[str, Tensor], name: str, residual_scale: float = -1.0) -> Tensor:
    """Return the dense weight of a linear of a public checkpoint, shape (m, n), float32.

    W = diag(SV Wscale) H_m decode(Qidxs) H_n^T diag(SU); the rows of fused linears are not yet scaled apart.

    Args:
        tensors: `Qidxs`, `SU`, `SV`, `codebook_id`, `Wscale`.
        name: Name of the linear, for errors.
        residual_scale: `resid_scale_override` of the configuration; not positive takes the code's own.

    Raises:
        CorruptArtifact: A tensor is missing, sizes disagree, or the codebook is unknown.
    """
    missing = {"Qidxs", "SU", "SV", "codebook_id"} - set(tensors)
    if missing:
        raise CorruptArtifact(f"'{name}' lacks {sorted(missing)}; download the checkpoint again.")
    number = int(tensors["codebook_id"])
    bits = CODEBOOKS.get(number)
    if bits is None:
        raise CorruptArtifact(f"'{name}' has codebook {number}; known are {sorted(CODEBOOKS)}.")
    left, packed = tensors["SU"].float(), tensors["Qidxs"]
    right = tensors["SV"].float() * tensors.get("Wscale", torch.ones(())).float()
    if tuple(packed.shape) != (len(right), len(left) * bits // 64) or len(right) % 16 or len(left) % 64:
        raise CorruptArtifact(
            f"'{name}' has Qidxs of shape {tuple(packed.shape)} for {len(right)} x {len(left)} weights of {bits} bits."
        )
    code = LatticeCode(bits, residual_scale if residual_scale > 0 else None)
    points = code.decode(public_indices(packed, bits)).flatten(1)
    try:
        return restore_weight(points, Rht(left, family="public"), Rht(right, family="public"))
    except ValueError as error:
        raise CorruptArtifact(f"'{name}': {error}") from error
