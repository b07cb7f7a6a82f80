"""The loader of public VPTQ checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qharness.artifacts.public import load_public as load
from qharness.artifacts.public import quantization_of
from qharness.quantization.packing import pack
from qharness_vptq.config import layout_from
from qharness_vptq.linear import VptqLinear, as_int16

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qharness.models.loaded import LoadedModel, LoadRequest
    from qharness_vptq.layout import Layout


def load_public(request: LoadRequest) -> LoadedModel:
    """Load a checkpoint of the vptq package or of `qharness export --format vptq`.

    Older files hold unpacked indices of 16 bits each, main and residual apart; they are packed on the way in.

    Raises:
        CorruptArtifact: A tensor or an entry of the configuration is missing or of another shape.
    """
    config = quantization_of(request.reference)
    by_name: Mapping[str, Any] = config.get("config_for_layers") or {}
    by_tail: Mapping[str, Any] = config.get("shared_layer_config") or {}

    def quantized(name: str, tensors: Mapping[str, Tensor], linear: nn.Linear) -> VptqLinear | None:
        entry = by_name.get(name) or by_tail.get(name.rpartition(".")[2])
        if entry is None or "weight" in tensors:
            return None
        layout = layout_from(entry, name)
        own = {key.removesuffix(".weight"): tensor for key, tensor in tensors.items()}
        if not entry.get("is_indice_packed", False):
            own = _packed(own, layout)
        if "perm" in own:
            own["perm"] = as_int16(own["perm"].long() & 0xFFFF)
        return VptqLinear(own, layout, (linear.out_features, linear.in_features), {})

    return load(request, quantized)


def _packed(tensors: dict[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    tensors = dict(tensors)
    joint = _unsigned(tensors["indices"])
    if layout.res_centroids:
        joint = joint | _unsigned(tensors.pop("res_indices")) << (layout.centroids.bit_length() - 1)
    return tensors | {"indices": pack(joint, layout.index_bits)}


def _unsigned(values: Tensor) -> Tensor:
    """Return 16-bit indices, whatever type they were stored as, as int64."""
    import torch

    return (values.view(torch.int16) if values.element_size() == 2 else values).long() & 0xFFFF
