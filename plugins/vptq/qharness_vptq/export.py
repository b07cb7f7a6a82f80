"""`qharness export --format vptq`: a folder that the vptq package and transformers load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from qharness.artifacts.conversion import write_converted
from qharness.artifacts.layout import CONFIG
from qharness_vptq.config import METHOD, layer_config
from qharness_vptq.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from qharness.jobs.export import ExportRequest
    from qharness.quantization.linear import QuantizedLinear

EMBEDDINGS = ("centroids", "res_centroids", "outlier_centroids")


def export_public(request: ExportRequest) -> None:
    """Write an artifact of `vptq` in the public format; codebooks that linears share are written with each of them.

    Raises:
        UsageError: The artifact needs runtime transforms.
    """
    artifact = request.artifact
    entries = {
        name: layer_config(
            Layout(**spec["layout"]),
            (spec["out_features"], spec["in_features"]),
            norm="weight_scale" in spec["tensors"],
            permuted="perm" in spec["tensors"],
            bias=f"{name}.bias" in artifact.stored,
        )
        for name, spec in artifact.modules.items()
    }
    write_converted(
        artifact,
        request.out,
        request.host,
        lambda _, linear: public_tensors(linear),
        quantization_config={
            "quant_method": METHOD,
            "config_for_layers": entries,
            "modules_to_not_convert": sorted(set(_linear_names(artifact.path)) - set(entries)),
        },
        dtype=json.loads((artifact.path / CONFIG).read_text(encoding="utf-8"))["dtype"],
    )


def public_tensors(linear: QuantizedLinear) -> Mapping[str, Tensor]:
    """Return the tensors of a linear by their public names; readers want a bias wherever there is a scale."""
    tensors = {f"{name}.weight" if name in EMBEDDINGS else name: buffer for name, buffer in linear.named_buffers()}
    if "weight_scale" in tensors and "weight_bias" not in tensors:
        tensors["weight_bias"] = torch.zeros_like(tensors["weight_scale"])
    return tensors


def _linear_names(folder: Path) -> list[str]:
    """Return the names of all linears of the model that a folder's configuration describes."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    return [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
