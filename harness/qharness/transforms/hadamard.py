"""The Hadamard runtime transform, behind the kinds `r3`, `r4` and `rht`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from functools import cache
from typing import TYPE_CHECKING

from qharness.errors import MissingTransform
from qharness.serving.base import REFERENCE, Use
from qharness.transforms.contract import MapSpec, TransformEntry

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

    from qharness.transforms.base import AttachedTransform
    from qharness_kernels.hadamard import Family

FAMILIES: tuple[Family, ...] = ("generated", "public")

Kernel = Callable[..., "Tensor"]


@cache
def factor_sha256(order: int, family: Family = "generated") -> str:
    """Return the SHA-256 of the dense factor of that order in a family, int8, row by row."""
    from qharness_kernels.hadamard import family_matrix

    return hashlib.sha256(family_matrix(order, family).contiguous().numpy().tobytes()).hexdigest()


def factor_family(spec: MapSpec) -> Family:
    """Return the family of Hadamard matrices to which the dense factor of a map belongs, by its digest.

    Raises:
        MissingTransform: It is in none, or there is none of that order.
    """
    from qharness_kernels.hadamard import family_factor

    problem = "its Hadamard factor matrix is not one that this version of qharness makes"
    for family in FAMILIES:
        try:
            split = family_factor(spec.block or spec.size, family)
        except ValueError as error:
            problem = str(error).rstrip(".") if family == "generated" else problem
            continue
        if split.k == spec.factor and factor_sha256(split.k, family) == spec.sha256:
            return family
    raise MissingTransform(problem)


def hadamard_map(spec: MapSpec, tensors: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the map of a contract entry, acting on the last dimension.

    Where the name of the sign vector has a `*`, every module has a map of its own; what is returned then, for the
    fingerprint, is their sum with weights that tell the modules apart.

    Raises:
        MissingTransform: The map is no Hadamard map that this version makes, or a sign vector is absent.
    """
    return joined(hadamard_maps(spec, tensors))


def joined(maps: Mapping[str, Callable[[Tensor], Tensor]]) -> Callable[[Tensor], Tensor]:
    """Return the one map, or the weighted sum of several."""
    return next(iter(maps.values())) if len(maps) == 1 else WeightedSum(maps)


def hadamard_maps(spec: MapSpec, tensors: Mapping[str, Tensor]) -> dict[str, SignedHadamard]:
    """Return the maps of a contract entry by the name of their sign vector; by `` where there is none.

    `tensors` is read at every application, so that training can put another vector in the place of one.

    Raises:
        MissingTransform: The map is no Hadamard map that this version makes, or a sign vector is absent.
    """
    if spec.type != "hadamard":
        raise MissingTransform(f"its map is of type '{spec.type}', not 'hadamard'")
    family = factor_family(spec)
    is_transposed = bool(spec.parameters.get("transposed", False))
    if spec.signs is None:
        return {"": SignedHadamard(spec.size, spec.block, is_transposed, family)}
    names = sign_names(spec, tensors)
    for name in names:
        if name not in tensors:
            raise MissingTransform(f"its sign vector '{name}' is not in the artifact")
        found = tensors[name]
        is_valid = bool(found.isfinite().all() if spec.parameters.get("real") else found.abs().eq(1).all())
        if found.shape != (spec.size,) or not is_valid:
            raise MissingTransform(f"its sign vector '{name}' is no vector of {spec.size} signs")
    if not names:
        raise MissingTransform(f"the artifact has no sign vector '{spec.signs}'")
    return {name: SignedHadamard(spec.size, spec.block, is_transposed, family, tensors, name) for name in names}


def sign_names(spec: MapSpec, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the sign vectors that belong to a map."""
    if spec.signs is None or "*" not in spec.signs:
        return [] if spec.signs is None else [spec.signs]
    pattern = spec.signs
    return sorted(name for name in tensors if star_of(pattern, name) is not None)


def hadamard_kernel(function: str, refused: str, switch: str, device: torch.device) -> tuple[Kernel | None, Use]:
    """Choose what applies a Hadamard map, across heads or not.

    Args:
        function: Its name in the kernel's module.
        refused: Why the kernels do not have the map, as a clause; empty if they do.
        switch: `auto`, `reference` or `triton`.
        device: Where the inputs will be.

    Returns:
        The kernel's function, None for the reference; and what to report.

    Raises:
        KernelUnavailable: `triton` was asked for and no kernel can serve.
    """
    from qharness_kernels.registry import choose

    implementation, reason = choose("hadamard", device, switch, refused)
    kernel = None if implementation.name == REFERENCE else getattr(implementation.load(), function)
    return kernel, Use("hadamard", implementation.name, reason)


class SignedHadamard:
    """x -> H diag(signs) x, or its transpose x -> diag(signs) H^T x, with block-diagonal H.

    Args:
        size: Size of the dimension.
        block: Size of the blocks of H; None is one block.
        is_transposed: Whether to apply the transpose.
        family: Family of the dense factor of H.
        tensors: Where the sign vector is looked up at every application; None has no signs.
        name: Its name there.
    """

    def __init__(
        self,
        size: int,
        block: int | None,
        is_transposed: bool,
        family: Family = "generated",
        tensors: Mapping[str, Tensor] | None = None,
        name: str = "",
    ) -> None:
        self.size, self.block, self.is_transposed, self.family = size, block, is_transposed, family
        self._tensors, self._name = tensors, name
        self._moved: tuple[Tensor, Tensor] | None = None
        self._kernel: Kernel | None = None
        self._dtype: torch.dtype | None = None

    def use_kernels(self, switch: str, device: torch.device, dtype: torch.dtype) -> Use:
        """Choose what applies the map to inputs of a type on a device.

        Raises:
            KernelUnavailable: `triton` was asked for and no kernel can serve.
        """
        from qharness_kernels.hadamard.tiles import refusal

        refused = refusal(self.block or self.size, dtype)
        if self.family != "generated":
            refused = "the kernel has generated Hadamard factors only"
        self._kernel, use = hadamard_kernel("hadamard_transform", refused, switch, device)
        self._dtype, self._moved = dtype if self._kernel else None, None
        return use

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the map to the last dimension of x."""
        from qharness_kernels.hadamard import hadamard_transform

        signs = self._signs(x.device)
        if self._kernel is not None:
            return self._kernel(x, block=self.block, signs=signs, inverse=self.is_transposed)
        return hadamard_transform(x, block=self.block, signs=signs, inverse=self.is_transposed, family=self.family)

    def _signs(self, device: torch.device) -> Tensor | None:
        if self._tensors is None:
            return None
        stored = self._tensors[self._name]
        if self._moved is None or self._moved[0] is not stored or self._moved[1].device != device:
            # Kernels read signs of their inputs' type fastest; real factors keep their own.
            dtype = stored.dtype if self._dtype is None or stored.is_floating_point() else self._dtype
            self._moved = (stored, stored.to(device, dtype))
        return self._moved[1]


class WeightedSum:
    """A sum of maps with weights in [0.5, 1.5) from a hash of their names, over the root of their number."""

    def __init__(self, maps: Mapping[str, Callable[[Tensor], Tensor]]) -> None:
        self.maps = maps

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the sum to the last dimension of x."""
        total = sum(_weight(name) * apply(x) for name, apply in self.maps.items())
        assert not isinstance(total, int)
        return total / len(self.maps) ** 0.5


def _weight(name: str) -> float:
    return 0.5 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32


def star_of(pattern: str, name: str) -> str | None:
    """Return what the one `*` of a glob stands for in a name; None if the name does not match."""
    before, _, after = pattern.partition("*")
    # fnmatch.translate ends with an anchor of two characters.
    match = re.match(translate(before)[:-2] + "(.*)" + translate(after), name, re.DOTALL)
    return match[1] if match else None


class HadamardTransform:
    """A Hadamard map, or one for each module, bound to its entry.

    Args:
        entry: Contract entry with a `hadamard` map.
        tensors: The artifact's transform tensors.

    Raises:
        MissingTransform: The map cannot be rebuilt exactly.
    """

    def __init__(self, entry: TransformEntry, tensors: Mapping[str, Tensor]) -> None:
        self.entry = entry
        self._maps = hadamard_maps(entry.map, tensors)
        self._map = joined(self._maps)

    def apply(self, x: Tensor) -> Tensor:
        """Apply the map to the last dimension of x; where each module has its own, their sum (fingerprint)."""
        return self._map(x)

    def of(self, module: str) -> Callable[[Tensor], Tensor]:
        """Return the map of the module of that name.

        Raises:
            MissingTransform: The artifact has no sign vector for it.
        """
        signs = self.entry.map.signs
        if signs is None or "*" not in signs:
            return self._map
        star = star_of(self.entry.modules, module)
        name = signs.replace("*", star or "")
        if name not in self._maps:
            raise MissingTransform(f"its sign vector '{name}' is not in the artifact")
        return self._maps[name]

    def attach(self, model: PreTrainedModel) -> AttachedTransform:
        """Attach to every module that the entry's pattern names."""
        from qharness.transforms.sites import attach_at_site

        return attach_at_site(model, self.entry, self.apply, self.of)
