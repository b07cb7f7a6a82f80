"""The runtime transform `butterfly`: rotates the input of a linear as its stored weights expect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qharness.errors import MissingTransform
from qharness.serving.base import REFERENCE, Use
from qharness.transforms.contract import MapSpec, TransformEntry
from qharness.transforms.fingerprint import fingerprint
from qharness.transforms.hadamard import WeightedSum, star_of
from qharness.transforms.sites import attach_at_site
from qharness_butterfly.butterfly import Butterfly
from qharness_kernels.butterfly import butterfly_dense, butterfly_split
from qharness_kernels.butterfly.layout import prepare, refusal
from qharness_kernels.registry import choose

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.transforms.base import AttachedTransform

KIND = "butterfly"
DENSE_SIZE = 1024
"""Up to this size the map is applied as a dense matrix: one product is faster than many passes over memory."""


def angles_name(name: str) -> str:
    """Return the name of the angles that belong to a linear's input (with or without a `*` for the layer)."""
    return f"{name}.angles"


def skew_name(angles: str) -> str:
    """Return the name of the skew entries that belong to angles of that name."""
    return f"{angles.removesuffix('.angles')}.skew"


def butterfly_entries(
    linears: Sequence[str], first: str, size: int, tensors: Mapping[str, Tensor]
) -> list[TransformEntry]:
    """Describe the butterflies of linears that share their input, one entry a linear.

    Args:
        linears: Patterns of module names, one `*` each for the layer.
        first: The one that names the parameters.
        size: Size of the input.
        tensors: Parameters by name.
    """
    angles = angles_name(first)
    spec = MapSpec(KIND, size, butterfly_split(size).k, parameters={"angles": angles})
    found = fingerprint(_fingerprinted(butterfly_maps(spec, tensors)), size)
    return [TransformEntry(KIND, KIND, modules, "linear_input", spec, fingerprint=found) for modules in linears]


def butterfly_maps(spec: MapSpec, tensors: Mapping[str, Tensor]) -> dict[str, Map]:
    """Return the maps of a contract entry by what the `*` of their angles' name stands for.

    Raises:
        MissingTransform: The map is no butterfly, or parameters are absent or of a wrong size.
    """
    pattern = spec.parameters.get("angles")
    split = butterfly_split(spec.size)
    if spec.type != KIND or spec.factor != split.k or not isinstance(pattern, str):
        raise MissingTransform(f"its map is no butterfly of {spec.size} numbers that this version knows")
    stars = {name: star_of(pattern, name) for name in tensors}
    maps: dict[str, Map] = {}
    for name, star in sorted(stars.items()):
        if star is None:
            continue
        angles, skew = tensors[name], tensors.get(skew_name(name), torch.zeros(0))
        if tuple(angles.shape) != split.angles or tuple(skew.shape) != (split.skew,):
            raise MissingTransform(f"its angles '{name}' are not those of a butterfly of {spec.size} numbers")
        if not bool(angles.isfinite().all() and skew.isfinite().all()):
            raise MissingTransform(f"its angles '{name}' are not finite")
        maps[star] = Map(Butterfly(angles, skew), spec.size)
    if not maps:
        raise MissingTransform(f"the artifact has no angles '{pattern}'")
    return maps


class Map:
    """A butterfly ready to be applied, its matrix or parameters kept on the devices where it was used.

    Args:
        butterfly: The parameters.
        size: Size of the dimension.
    """

    def __init__(self, butterfly: Butterfly, size: int) -> None:
        self.butterfly, self.size = butterfly, size
        self._kept: dict[tuple[torch.device, torch.dtype], Tensor] = {}
        self._kernel: Callable[[Tensor], Tensor] | None = None

    def use_kernels(self, switch: str, device: torch.device, dtype: torch.dtype) -> Use:
        """Choose what applies the map to inputs of a type on a device, and prepare its parameters.

        Raises:
            KernelUnavailable: `triton` was asked for and no kernel can serve.
        """
        implementation, reason = choose(KIND, device, switch, refusal(self.size, dtype))
        self._kernel = None
        if implementation.name != REFERENCE:
            prepared = prepare(self.butterfly.angles, self.butterfly.skew, self.size, device)
            self._kernel = partial(implementation.load().butterfly_transform, prepared=prepared)
        return Use(KIND, implementation.name, reason)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the map to the last dimension of x."""
        if self._kernel is not None:
            return self._kernel(x)
        if self.size > DENSE_SIZE:
            if self.butterfly.angles.device != x.device:
                self.butterfly = Butterfly(self.butterfly.angles.to(x.device), self.butterfly.skew.to(x.device))
            return self.butterfly.apply(x)
        key = (x.device, x.dtype if x.dtype == torch.float64 else torch.float32)
        if key not in self._kept:
            with torch.inference_mode(False), torch.no_grad():
                dense = butterfly_dense(self.butterfly.angles.cpu(), self.butterfly.skew.cpu(), self.size)
                self._kept[key] = dense.to(device=key[0], dtype=key[1])
        return (x.to(key[1]) @ self._kept[key].T).to(x.dtype)


def _fingerprinted(maps: Mapping[str, Map]) -> Callable[[Tensor], Tensor]:
    return WeightedSum(maps)


class ButterflyTransform:
    """The butterflies of a contract entry, one a layer.

    Args:
        entry: Contract entry with a `butterfly` map.
        tensors: The artifact's transform tensors.

    Raises:
        MissingTransform: The maps cannot be rebuilt exactly.
    """

    def __init__(self, entry: TransformEntry, tensors: Mapping[str, Tensor]) -> None:
        self.entry = entry
        self._maps = butterfly_maps(entry.map, tensors)
        self._sum = _fingerprinted(self._maps)

    def apply(self, x: Tensor) -> Tensor:
        """Apply the sum of all layers' maps, weighted so that each shows (fingerprint)."""
        return self._sum(x)

    def of(self, module: str) -> Map:
        """Return the map of the module of that name.

        Raises:
            MissingTransform: The artifact has no angles for it.
        """
        star = star_of(self.entry.modules, module)
        if star not in self._maps:
            raise MissingTransform(f"the artifact has no angles for '{module}'")
        return self._maps[star]

    def attach(self, model: PreTrainedModel) -> AttachedTransform:
        """Attach to every module that the entry's pattern names."""
        return attach_at_site(model, self.entry, self.apply, self.of)
