"""The loader of public AQLM checkpoints; it needs neither the `aqlm` package nor its kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qharness.artifacts.public import load_public
from qharness.errors import CorruptArtifact
from qharness_aqlm.linear import AdditiveLinear
from qharness_aqlm.public import from_public

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qharness.models.loaded import LoadedModel, LoadRequest


def load(request: LoadRequest) -> LoadedModel:
    """Load a checkpoint; its linears keep their codes.

    Raises:
        CorruptArtifact: A file is truncated, or a weight is missing.
        UsageError: The checkpoint groups outputs or has scales per group, or transforms are to be ablated.
    """
    return load_public(request, _quantized)


def _quantized(name: str, tensors: Mapping[str, Tensor], _: nn.Linear) -> AdditiveLinear | None:
    if "codes" not in tensors:
        return None
    absent = {"codebooks", "scales"} - set(tensors)
    if absent:
        raise CorruptArtifact(f"The checkpoint lacks '{name}.{min(absent)}'; download it again.")
    codes, codebooks, scales = from_public(tensors["codes"], tensors["codebooks"], tensors["scales"])
    return AdditiveLinear(codes, codebooks, scales, tensors.get("bias"))
