"""Where R1, R2 and R4 sit: the same functions merge them into weights and carry gradients while they are learned.

Convention: activations are rows, y = x W^T. The residual stream becomes x R1; the output of v_proj becomes, head by
head, v R2; the input of down_proj becomes A x with A the Hadamard of R4. Source: SpinQuant, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qharness_kernels.hadamard import factor, hadamard_dense, hadamard_transform

if TYPE_CHECKING:
    from qharness.models.architecture import Architecture


def rotate_block(block: Mapping[str, Tensor], architecture: Architecture, r1: Tensor, r2: Tensor) -> dict[str, Tensor]:
    """Return a block's parameters rotated by R1 and R2, differentiable in both.

    Args:
        block: Parameters with norms folded in, by name.
        architecture: Where its parts are.
        r1: Rotation of the residual stream, shape (hidden, hidden).
        r2: Rotation of this block's value heads, shape (head_dim, head_dim).
    """
    names, size = architecture, len(r2)
    found = dict(block)
    for linear in (names.q, names.k, names.v, names.gate, names.up):
        found[f"{linear}.weight"] = block[f"{linear}.weight"] @ r1
    value, out = f"{names.v}.weight", f"{names.o}.weight"
    found[value] = (r2.T @ found[value].unflatten(0, (-1, size))).flatten(0, 1)
    found[out] = (block[out].unflatten(1, (-1, size)) @ r2).flatten(1)
    for linear in (names.o, names.down):
        found[f"{linear}.weight"] = r1.T @ found[f"{linear}.weight"]
        if f"{linear}.bias" in found:
            found[f"{linear}.bias"] = found[f"{linear}.bias"] @ r1
    if f"{names.v}.bias" in found:
        found[f"{names.v}.bias"] = (found[f"{names.v}.bias"].unflatten(0, (-1, size)) @ r2).flatten()
    return found


def merge_r4(block: dict[str, Tensor], architecture: Architecture, hadamard_block: int | None) -> dict[str, Tensor]:
    """Return the parameters with W_down A^T in place of W_down."""
    name = f"{architecture.down}.weight"
    return block | {name: hadamard_transform(block[name], block=hadamard_block)}


def rotate_hessian(hessian: Tensor, rotation: Tensor) -> Tensor:
    """Return the second moment of x R where H is that of x: R^T H R, with R acting on heads if it is smaller."""
    if len(rotation) != len(hessian):
        size = len(rotation)
        left = (rotation.T @ hessian.unflatten(0, (-1, size))).flatten(0, 1)
        return (left.unflatten(1, (-1, size)) @ rotation).flatten(1)
    return rotation.T @ hessian @ rotation


def r4_block_for(size: int, wanted: int) -> int | None:
    """Return the block of R4's Hadamard: None for one block of the whole size, where that exists."""
    return wanted or (None if is_known(size) else 128)


def is_known(size: int) -> bool:
    """Return whether a Hadamard matrix of that size can be made."""
    try:
        factor(size)
    except ValueError:
        return False
    return True


def random_hadamard(size: int, generator: torch.Generator) -> tuple[Tensor, bool]:
    """Return diag(+-1) H / sqrt(n), float64, and True; or a random orthogonal matrix and False where H is unknown."""
    signs = torch.randint(0, 2, (size,), generator=generator).double() * 2 - 1
    try:
        return signs[:, None] * hadamard_dense(size), True
    except ValueError:
        q, r = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
        return q * r.diagonal().sign(), False


def polar(matrix: Tensor) -> Tensor:
    """Return the nearest orthogonal matrix in float64, of one matrix or a batch: U V^T of its singular vectors."""
    u, _, v = torch.linalg.svd(matrix.double())
    return u @ v


def orthogonality_error(matrix: Tensor) -> float:
    """Return max |R^T R - I|, of one matrix or a batch, in float64."""
    matrix = matrix.double()
    identity = torch.eye(matrix.shape[-1], dtype=torch.float64, device=matrix.device)
    return float((matrix.transpose(-1, -2) @ matrix - identity).abs().max())
