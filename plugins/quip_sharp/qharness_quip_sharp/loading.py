"""The loader of public QuIP# checkpoints: dense weights, for evaluation and comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.artifacts.public import section_of
from qharness.errors import CorruptArtifact, UnsupportedArchitecture
from qharness.models.architecture import head_dim_of
from qharness.models.dense import load_dense
from qharness_quip_sharp.public import public_weight

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

    from qharness.models.loaded import LoadedModel, LoadRequest

SECTION = "quip_params"
VERSION = 1
FUSED = {"self_attn.qkv_proj": ("q_proj", "k_proj", "v_proj"), "mlp.upgate_proj": ("up_proj", "gate_proj")}


def load_public(request: LoadRequest) -> LoadedModel:
    """Load a public checkpoint as a dense model.

    Raises:
        CorruptArtifact: Tensors are missing or contradict the configuration.
        UnsupportedArchitecture: The model is no Llama or Mistral, or uses options that were withdrawn.
        UsageError: Transforms are to be ablated: they are folded into the dense weights.
    """
    folder = Path(request.reference).expanduser()
    params = section_of(folder, SECTION)
    _check(folder, params)
    residual_scale = float(params.get("resid_scale_override", -1))

    def decode(name: str, tensors: Mapping[str, Tensor], config: PretrainedConfig) -> Mapping[str, Tensor]:
        return _unfused(name, tensors, config, public_weight(tensors, name, residual_scale))

    notice = f"The weights come from a public QuIP# checkpoint ({params['codebook']}): {folder.name}."
    return load_dense(request, SECTION, "Qidxs", decode, notice)


def _check(folder: Path, params: Mapping[str, Any]) -> None:
    if params["codebook"] == "E8P12" and params.get("codebook_version", VERSION) != VERSION:
        raise CorruptArtifact(f"{folder} has version {params['codebook_version']} of E8P12; {VERSION} is read.")
    if params.get("rescale_WH") or params.get("lora_rank"):
        raise UnsupportedArchitecture(f"{folder} uses rescale_WH or lora_rank, which public checkpoints no longer do.")


def _unfused(
    owner: str, tensors: Mapping[str, Tensor], config: PretrainedConfig, weight: Tensor
) -> Mapping[str, Tensor]:
    """Return the weights of the linears that a stored one holds."""
    kind = next((kind for kind in FUSED if owner.endswith(kind)), None)
    if kind is None:
        return {f"{owner}.weight": weight}
    parent, sizes, scales = owner.rpartition(".")[0], _sizes(config, kind), tensors.get("fuse_scales")
    if scales is None or len(scales) != len(sizes) or sum(sizes) != len(weight):
        raise CorruptArtifact(f"'{owner}' does not hold {len(sizes)} linears of {sizes} rows; download it again.")
    parts = zip(FUSED[kind], weight.split(sizes), scales, strict=True)
    return {f"{parent}.{name}.weight": part * scale for name, part, scale in parts}


def _sizes(config: PretrainedConfig, kind: str) -> list[int]:
    if kind.startswith("mlp"):
        return [config.intermediate_size] * 2
    head = head_dim_of(config)
    return [config.num_attention_heads * head] + [config.num_key_value_heads * head] * 2
