"""Public checkpoints of quantized models as dense ones, for evaluation and comparison."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qharness.artifacts.digest import files_digest
from qharness.artifacts.tensorfiles import weight_files
from qharness.errors import CorruptArtifact, UnsupportedArchitecture, UsageError
from qharness.models.architecture import ARCHITECTURES
from qharness.models.hub import load_tokenizer, quiet_loading, torch_dtype
from qharness.models.loaded import LoadedModel

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from qharness.models.loaded import LoadRequest


Decode = Callable[[str, Mapping[str, Tensor], "PretrainedConfig"], Mapping[str, Tensor]]


def load_dense(request: LoadRequest, section: str, marker: str, decode: Decode, notice: str) -> LoadedModel:
    """Load a checkpoint whose config.json describes the quantization in a section of its own.

    Args:
        request: A local folder.
        section: Name of that section.
        marker: Name of a tensor that every quantized linear has and no other module.
        decode: Weights, by full names of transformers, from a linear's name, its tensors, and the configuration.
        notice: Sentence that says where the weights come from.

    Raises:
        CorruptArtifact: Weights are missing or have other sizes than the configuration asks for.
        UnsupportedArchitecture: The model is no Llama or Mistral.
        UsageError: Transforms are to be ablated: they are folded into the dense weights.
    """
    from safetensors.torch import load_file
    from transformers import AutoConfig

    if request.ablate:
        raise UsageError(f"{request.reference} is loaded with its transforms folded in; drop `--ablate`.")
    folder = Path(request.reference).expanduser()
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if raw.get("model_type") not in ARCHITECTURES:
        known = " and ".join(ARCHITECTURES)
        raise UnsupportedArchitecture(f"{folder} has the architecture '{raw.get('model_type')}'; {known} are read.")
    config = AutoConfig.for_model(**{key: value for key, value in raw.items() if key not in (section, "auto_map")})
    named = torch_dtype(request.dtype)
    dtype = named if isinstance(named, torch.dtype) else torch.float16
    stored = {name: tensor for path in weight_files(folder) for name, tensor in load_file(path).items()}
    linears: dict[str, dict[str, Tensor]] = {
        name.removesuffix(f".{marker}"): {} for name in stored if name.endswith(f".{marker}")
    }
    state: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        owner, _, part = name.rpartition(".")
        linears.get(owner, state)[part if owner in linears else name] = tensor
    for owner, tensors in sorted(linears.items()):
        state |= decode(owner, tensors, config)
    weights = {name: tensor.to(dtype) for name, tensor in state.items()}
    return dense_model(request, config, weights, dtype, notice)


def dense_model(
    request: LoadRequest, config: PretrainedConfig, state: Mapping[str, Tensor], dtype: torch.dtype, notice: str
) -> LoadedModel:
    """Build a model of plain linears from its weights.

    Args:
        request: What was asked for; its reference is the folder of the checkpoint.
        config: Configuration of the plain model.
        state: Weights by the names of transformers.
        dtype: Type of the model.
        notice: Sentence that says where the weights come from.

    Raises:
        CorruptArtifact: Weights are missing or have other sizes than the configuration asks for.
    """
    from transformers import AutoModelForCausalLM

    folder = Path(request.reference).expanduser()
    with quiet_loading(), torch.device("meta"):
        plain: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    with quiet_loading():
        try:
            model, report = type(plain).from_pretrained(
                None, config=config, state_dict=dict(state), dtype=dtype, attn_implementation="sdpa",
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
        notice=notice,
    )
