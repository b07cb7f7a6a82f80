"""Artifacts as public VPTQ checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from qharness.artifacts.public import write_public
from qharness_vptq.config import METHOD, layer_config
from qharness_vptq.linear import VptqLinear

if TYPE_CHECKING:
    from torch import Tensor

    from qharness.jobs.export import ExportRequest
    from qharness.quantization.linear import QuantizedLinear

EMBEDDINGS = ("centroids", "res_centroids", "outlier_centroids")


def export_public(request: ExportRequest) -> None:
    """Write an artifact in the public format; codebooks that linears share are written with each of them."""
    write_public(request, public_tensors, _describe)


def public_tensors(linear: QuantizedLinear) -> dict[str, Tensor]:
    """Return the tensors of a linear by their public names."""
    tensors = {
        f"{name}.weight" if name in EMBEDDINGS else name: tensor
        for name, tensor in linear.named_buffers()
        if name != "bias"
    }
    if "weight_scale" in tensors and "weight_bias" not in tensors:
        tensors["weight_bias"] = torch.zeros_like(tensors["weight_scale"])
    return tensors


def _describe(linears: Mapping[str, QuantizedLinear], plain: list[str]) -> dict[str, Any]:
    entries = {}
    for name, linear in linears.items():
        assert isinstance(linear, VptqLinear)
        buffers = dict(linear.named_buffers())
        entries[name] = layer_config(
            linear.layout,
            (linear.out_features, linear.in_features),
            norm="weight_scale" in buffers,
            permuted="perm" in buffers,
            bias="bias" in buffers,
        )
    return {"quant_method": METHOD, "config_for_layers": entries, "modules_to_not_convert": plain}
