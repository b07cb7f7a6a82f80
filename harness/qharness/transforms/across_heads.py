"""The runtime transform `across_heads`: a Hadamard over the attention heads before o_proj.

It is H_heads kron I: every coordinate of a head is mixed over all query heads. Together with a Hadamard of every head,
which can be merged into v_proj, it is a Hadamard of the whole input. Source: Ashkboos et al., QuaRot, arXiv 2404.00456,
section 4, "Hadamard heads".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from qharness.errors import MissingTransform, UsageError
from qharness.transforms.contract import MapSpec, TransformEntry
from qharness.transforms.fingerprint import fingerprint
from qharness.transforms.hadamard import Kernel, factor_family, factor_sha256, hadamard_kernel

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

    from qharness.serving.base import Use
    from qharness.transforms.base import AttachedTransform

TYPE = "hadamard_across_heads"


class HeadMixing:
    """The map itself.

    Args:
        heads: Number of heads.
    """

    def __init__(self, heads: int) -> None:
        self.heads = heads
        self._kernel: Kernel | None = None

    def use_kernels(self, switch: str, device: torch.device, dtype: torch.dtype) -> Use:
        """Choose what applies the map to inputs of a type on a device.

        Raises:
            KernelUnavailable: `triton` was asked for and no kernel can serve.
        """
        from qharness_kernels.hadamard.tiles import refusal_across

        self._kernel, use = hadamard_kernel("hadamard_across", refusal_across(self.heads, dtype), switch, device)
        return use

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the map to the last dimension of x."""
        from qharness_kernels.hadamard import hadamard_across

        return (self._kernel or hadamard_across)(x, self.heads)


class AcrossHeads:
    """The map bound to its entry: `block` of the map is the number of heads.

    Args:
        entry: Contract entry.
        tensors: The artifact's transform tensors; none is needed.

    Raises:
        MissingTransform: The map is none that this version generates.
    """

    def __init__(self, entry: TransformEntry, tensors: Mapping[str, Tensor]) -> None:
        spec = entry.map
        self.entry, self.map = entry, HeadMixing(spec.block or 0)
        if spec.type != TYPE or spec.normalisation != "orthonormal" or spec.signs or spec.parameters:
            raise MissingTransform(f"its map of type '{spec.type}' is no plain map of type '{TYPE}'")
        if factor_family(spec) != "generated":
            raise MissingTransform("its Hadamard factor matrix is not one that this version of qharness generates")

    def apply(self, x: Tensor) -> Tensor:
        """Apply the map to the last dimension of x."""
        return self.map(x)

    def attach(self, model: PreTrainedModel) -> AttachedTransform:
        """Attach to every module that the entry's pattern names."""
        from qharness.transforms.sites import attach_at_site

        return attach_at_site(model, self.entry, self.map)


def across_heads_entry(modules: str, heads: int, head_dim: int) -> TransformEntry:
    """Describe the transform, with the digest of its factor and its fingerprint.

    Args:
        modules: Glob over the names of the o_proj modules.
        heads: Number of query heads.
        head_dim: Size of a head.

    Raises:
        UsageError: No Hadamard matrix over so many heads can be made.
    """
    from qharness_kernels.hadamard import factor

    try:
        split = factor(heads)
    except ValueError as error:
        raise UsageError(str(error)) from error
    spec = MapSpec(TYPE, heads * head_dim, split.k, heads, sha256=factor_sha256(split.k))
    entry = TransformEntry("across_heads", "across_heads", modules, "linear_input", spec)
    return replace(entry, fingerprint=fingerprint(AcrossHeads(entry, {}).apply, spec.size))
