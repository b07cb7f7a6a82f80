"""Rotate a model: fold its norms, merge R1, R2 and the merged halves of the online Hadamards."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from qharness.rotation.blocks import merge_across_heads, merge_r4, rotate_block, rotate_hessian
from qharness.rotation.folding import folded_block, folded_head, norm_weights
from qharness.rotation.matrices import random_hadamard
from qharness.rotation.online import Online
from qharness_kernels.hadamard import hadamard_across, hadamard_transform

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture
    from qharness.quantization.base import HessianMap


class Rotations(NamedTuple):
    """R1, shape (hidden, hidden), and all R2, shape (blocks, head_dim, head_dim), float64."""

    r1: Tensor
    r2: Tensor


def random_rotations(sizes: tuple[int, int, int], generator: torch.Generator) -> tuple[Rotations, dict[str, bool]]:
    """Return random Hadamards, and which of R1, R2 are Hadamards: the others are random orthogonal matrices.

    Args:
        sizes: Hidden size, head size, number of blocks.
        generator: Of the signs.
    """
    hidden, head, blocks = sizes
    r1, known1 = random_hadamard(hidden, generator)
    found = [random_hadamard(head, generator) for _ in range(blocks)]
    return Rotations(r1, torch.stack([matrix for matrix, _ in found])), {"R1": known1, "R2": found[0][1]}


@torch.no_grad()
def rotate_model(
    model: PreTrainedModel, names: Architecture, rotations: Rotations, online: Online, device: str = "cpu"
) -> HessianMap:
    """Fold the norms and merge all rotations into the weights, in float64, rounded once to the model's type.

    Args:
        model: Changed in place; its head must be untied.
        names: Where its parts are.
        rotations: R1 and all R2, orthogonal.
        online: Hadamards whose inverse is merged.
        device: Device of the work; one block is on it at a time.

    Returns:
        The map from Hessians of the original model's inputs to those of the rotated one's.
    """
    gammas = norm_weights(model, names)
    r1, r2 = rotations.r1.to(device), rotations.r2.to(device)
    head, embedding = names.weight(model, names.head), names.weight(model, names.embedding)
    head.data = (folded_head(model, names).to(device) @ r1).to(head)
    embedding.data = (embedding.double().to(device) @ r1).to(embedding)
    names.weight(model, names.final_norm).data.fill_(1)
    for index, block in enumerate(names.module(model, names.blocks).children()):
        found = rotate_block(folded_block(block, names, torch.float64, device), names, r1, r2[index])
        if online.r4:
            found = merge_r4(found, names, online.r4)
        if online.heads:
            found = merge_across_heads(found, names, online.heads)
        for name, parameter in block.named_parameters():
            parameter.data = found[name].to(parameter)
    return _hessian_map(names, Rotations(r1, r2), gammas, online, device)


def _hessian_map(
    names: Architecture, rotations: Rotations, gammas: dict[str, Tensor], online: Online, device: str
) -> HessianMap:
    def rotate(name: str, hessian: Tensor) -> Tensor:
        index, _, linear = name.removeprefix(f"{names.blocks}.").partition(".")
        h = hessian.to(device).double()
        if linear == names.o:
            h = rotate_hessian(h, rotations.r2[int(index)])
            if online.heads:
                h = hadamard_across(hadamard_across(h, online.heads).T, online.heads)
        elif linear != names.down:
            norm = names.post_norm if linear in (names.gate, names.up) else names.input_norm
            inverse = 1 / gammas[f"{names.blocks}.{index}.{norm}"].to(device)
            h = rotate_hessian(inverse[:, None] * h * inverse, rotations.r1)
        elif online.r4:
            h = hadamard_transform(hadamard_transform(h, block=online.r4).T, block=online.r4)
        return ((h + h.T) / 2).float()

    return rotate
