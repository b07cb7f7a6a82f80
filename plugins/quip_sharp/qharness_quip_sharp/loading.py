"""The loader of public QuIP# checkpoints: dense weights, for evaluation and comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qharness.artifacts.digest import files_digest
from qharness.artifacts.tensorfiles import weight_files
from qharness.errors import CorruptArtifact, UnsupportedArchitecture, UsageError
from qharness.models.architecture import ARCHITECTURES, head_dim_of
from qharness.models.hub import load_tokenizer, quiet_loading, torch_dtype
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness_quip_sharp.public import public_weight

if TYPE_CHECKING:
    from transformers import PretrainedConfig

VERSION = 1
FUSED = {"self_attn.qkv_proj": ("q_proj", "k_proj", "v_proj"), "mlp.upgate_proj": ("up_proj", "gate_proj")}


def load_public(request: LoadRequest) -> LoadedModel:
    """Load a public checkpoint as a dense model.

    Raises:
        CorruptArtifact: Tensors are missing or contradict the configuration.
        UnsupportedArchitecture: The model is no Llama or Mistral, or uses options that were withdrawn.
        UsageError: Transforms are to be ablated: they are folded into the dense weights.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if request.ablate:
        raise UsageError(f"{request.reference} is loaded with its transforms folded in; drop `--ablate`.")
    folder = Path(request.reference).expanduser()
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    params = raw["quip_params"]
    _check(folder, raw)
    config = AutoConfig.for_model(
        **{key: value for key, value in raw.items() if key not in ("quip_params", "auto_map")}
    )
    named = torch_dtype(request.dtype)
    dtype = named if isinstance(named, torch.dtype) else torch.float16
    state = _dense(_read(folder), config, float(params.get("resid_scale_override", -1)), dtype)
    with quiet_loading(), torch.device("meta"):
        plain: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    with quiet_loading():
        try:
            model, report = type(plain).from_pretrained(
                None, config=config, state_dict=state, dtype=dtype, attn_implementation="sdpa",
                output_loading_info=True,
            )  # fmt: skip
        except RuntimeError as error:
            raise CorruptArtifact(f"{folder} holds tensors of unexpected sizes; download it again.") from error
    absent = sorted(report["missing_keys"])
    if absent:
        raise CorruptArtifact(f"{folder} lacks the weight '{absent[0]}' ({len(absent)} in all); download it again.")
    return LoadedModel(
        model=model.eval().to(torch.device(request.device)),
        tokenizer=load_tokenizer(str(folder), local=True, trust_remote_code=request.trust_remote_code),
        reference=request.reference,
        digest=files_digest(folder),
        dtype=dtype,
        notice=f"The weights come from a public QuIP# checkpoint ({params['codebook']}): {folder.name}.",
    )


def _check(folder: Path, raw: dict[str, Any]) -> None:
    params = raw["quip_params"]
    if raw.get("model_type") not in ARCHITECTURES:
        raise UnsupportedArchitecture(
            f"{folder} has the architecture '{raw.get('model_type')}'; llama and mistral are read."
        )
    if params["codebook"] == "E8P12" and params.get("codebook_version", VERSION) != VERSION:
        raise CorruptArtifact(f"{folder} has version {params['codebook_version']} of E8P12; {VERSION} is read.")
    if params.get("rescale_WH") or params.get("lora_rank"):
        raise UnsupportedArchitecture(f"{folder} uses rescale_WH or lora_rank, which public checkpoints no longer do.")


def _read(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return {name: tensor for path in weight_files(folder) for name, tensor in load_file(path).items()}


def _dense(
    stored: dict[str, Tensor], config: PretrainedConfig, residual_scale: float, dtype: torch.dtype
) -> dict[str, Tensor]:
    owners = {name.rpartition(".")[0] for name in stored if name.endswith(".Qidxs")}
    state = {name: tensor.to(dtype) for name, tensor in stored.items() if name.rpartition(".")[0] not in owners}
    for owner in sorted(owners):
        own = {name.rpartition(".")[2]: tensor for name, tensor in stored.items() if name.rpartition(".")[0] == owner}
        weight = public_weight(own, owner, residual_scale)
        kind = next((kind for kind in FUSED if owner.endswith(kind)), None)
        if kind is None:
            state[f"{owner}.weight"] = weight.to(dtype)
            continue
        parent = owner.rpartition(".")[0]
        sizes = _sizes(config, kind)
        scales = own.get("fuse_scales")
        if scales is None or len(scales) != len(sizes) or sum(sizes) != len(weight):
            raise CorruptArtifact(f"'{owner}' does not hold {len(sizes)} linears of {sizes} rows; download it again.")
        for name, part, scale in zip(FUSED[kind], weight.split(sizes), scales, strict=True):
            state[f"{parent}.{name}.weight"] = (part * scale).to(dtype)
    return state


def _sizes(config: PretrainedConfig, kind: str) -> list[int]:
    if kind.startswith("mlp"):
        return [config.intermediate_size] * 2
    head = head_dim_of(config)
    return [config.num_attention_heads * head] + [config.num_key_value_heads * head] * 2
