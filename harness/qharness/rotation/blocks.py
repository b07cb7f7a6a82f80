"""Where rotations sit in a decoder block: the same functions merge them and carry gradients while they are learned.

Convention: activations are rows, y = x W^T. The residual stream becomes x R1; the output of v_proj becomes, head by
head, v R2; the input of down_proj becomes A x with A the Hadamard of R4, that of o_proj B x with B the Hadamard across
heads. Sources: SpinQuant, arXiv 2405.16406, section 3.2; QuaRot, arXiv 2404.00456, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from qharness_kernels.hadamard import hadamard_across, hadamard_transform

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


def merge_r4(block: Mapping[str, Tensor], architecture: Architecture, hadamard_block: int) -> dict[str, Tensor]:
    """Return the parameters with W_down A^T in place of W_down."""
    name = f"{architecture.down}.weight"
    return {**block, name: hadamard_transform(block[name], block=hadamard_block)}


def merge_across_heads(block: Mapping[str, Tensor], architecture: Architecture, heads: int) -> dict[str, Tensor]:
    """Return the parameters with W_o B^T in place of W_o."""
    name = f"{architecture.o}.weight"
    return {**block, name: hadamard_across(block[name], heads)}


def rotate_hessian(hessian: Tensor, rotation: Tensor) -> Tensor:
    """Return the second moment of x R where H is that of x: R^T H R, with R acting on heads if it is smaller."""
    if len(rotation) != len(hessian):
        size = len(rotation)
        left = (rotation.T @ hessian.unflatten(0, (-1, size))).flatten(0, 1)
        return (left.unflatten(1, (-1, size)) @ rotation).flatten(1)
    return rotation.T @ hessian @ rotation
