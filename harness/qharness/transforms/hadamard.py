"""The Hadamard runtime transform, behind the kinds `r3` and `r4`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from qharness.errors import MissingTransform
from qharness.transforms.contract import MapSpec, TransformEntry

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from qharness.transforms.base import AttachedTransform


@cache
def factor_sha256(order: int) -> str:
    """Return the SHA-256 of the generated Hadamard matrix of that order, int8, row by row."""
    from qharness_kernels.hadamard import hadamard_matrix

    return hashlib.sha256(hadamard_matrix(order).contiguous().numpy().tobytes()).hexdigest()


def hadamard_map(spec: MapSpec, tensors: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the map of a contract entry, acting on the last dimension.

    Raises:
        MissingTransform: The map is no Hadamard map that this version generates, or its sign vector is absent.
    """
    import torch

    from qharness_kernels.hadamard import factor

    if spec.type != "hadamard":
        raise MissingTransform(f"its map is of type '{spec.type}', not 'hadamard'")
    try:
        split = factor(spec.block or spec.size)
    except ValueError as error:
        raise MissingTransform(str(error).rstrip(".")) from error
    if split.k != spec.factor or factor_sha256(split.k) != spec.sha256:
        raise MissingTransform("its Hadamard factor matrix is not the one that this version of qharness generates")
    signs = None
    if spec.signs is not None:
        if spec.signs not in tensors:
            raise MissingTransform(f"its sign vector '{spec.signs}' is not in the artifact")
        signs = torch.as_tensor(tensors[spec.signs])
        if signs.shape != (spec.size,) or not bool(signs.abs().eq(1).all()):
            raise MissingTransform(f"its sign vector '{spec.signs}' is no vector of {spec.size} signs")
    return _SignedHadamard(spec.block, signs)


class _SignedHadamard:
    """A Hadamard map that keeps its sign vector on the devices where it was used."""

    def __init__(self, block: int | None, signs: Tensor | None) -> None:
        self.block = block
        self.signs = signs

    def __call__(self, x: Tensor) -> Tensor:
        from qharness_kernels.hadamard import hadamard_transform

        if self.signs is not None and self.signs.device != x.device:
            self.signs = self.signs.to(x.device)
        result: Tensor = hadamard_transform(x, block=self.block, signs=self.signs)
        return result


class HadamardTransform:
    """A Hadamard map bound to its entry.

    Args:
        entry: Contract entry with a `hadamard` map.
        tensors: The artifact's transform tensors.

    Raises:
        MissingTransform: The map cannot be rebuilt exactly.
    """

    def __init__(self, entry: TransformEntry, tensors: Mapping[str, Tensor]) -> None:
        self.entry = entry
        self._map = hadamard_map(entry.map, tensors)

    def apply(self, x: Tensor) -> Tensor:
        """Apply the map to the last dimension of x."""
        return self._map(x)

    def attach(self, model: PreTrainedModel) -> AttachedTransform:
        """Attach to every module that the entry's pattern names."""
        from qharness.transforms.sites import attach_at_site

        return attach_at_site(model, self.entry, self.apply)
