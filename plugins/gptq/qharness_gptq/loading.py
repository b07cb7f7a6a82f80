"""The loader of GPTQ checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from qharness.artifacts.digest import stored_digest
from qharness.artifacts.install import read_tensors
from qharness.artifacts.tensorfiles import read_headers
from qharness.errors import CorruptArtifact, UsageError
from qharness.models.hub import load_tokenizer, quiet_loading, torch_dtype
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness_gptq.checkpoint import read_config
from qharness_gptq.packing import Format, from_checkpoint

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from qharness.quantization.grid_linear import GridLinear
    from qharness_gptq.checkpoint import CheckpointConfig

PARTS = ("qweight", "qzeros", "scales", "g_idx", "bias")


def load_checkpoint(request: LoadRequest) -> LoadedModel:
    """Load a GPTQ checkpoint as a transformers model whose quantized linears stay packed.

    Raises:
        CorruptArtifact: A file is truncated, or tensors are missing or of wrong sizes.
        UnsupportedArchitecture: The checkpoint is of a variant that cannot be read.
        UsageError: Transforms are to be ablated; GPTQ checkpoints have none.
    """
    if request.ablate:
        raise UsageError(f"{request.reference} is a GPTQ checkpoint without runtime transforms; drop `--ablate`.")
    folder = Path(request.reference).expanduser()
    config = read_config(folder)
    headers = read_headers(folder)
    model = _build(folder, read_tensors(headers.values()), config, torch_dtype(request.dtype))
    return LoadedModel(
        model=model.eval().to(request.device),
        tokenizer=load_tokenizer(str(folder), local=True, trust_remote_code=request.trust_remote_code),
        reference=request.reference,
        digest=stored_digest(headers.values()),
        dtype=model.dtype,
    )


def _build(
    folder: Path, tensors: dict[str, Tensor], config: CheckpointConfig, named: torch.dtype | str
) -> PreTrainedModel:
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    plain = AutoConfig.from_pretrained(folder, local_files_only=True)
    if hasattr(plain, "quantization_config"):
        del plain.quantization_config
    dtype = named if isinstance(named, torch.dtype) else (plain.dtype or torch.float32)
    with init_empty_weights(), quiet_loading():
        model = AutoModelForCausalLM.from_config(plain, attn_implementation="sdpa")
    rest = dict(tensors)
    quantized = sorted(name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight"))
    if not quantized:
        raise CorruptArtifact(f"{folder} says it is a GPTQ checkpoint but holds no 'qweight'; download it again.")
    form: Format = "gptq_v2" if config.form == "gptq_v2" else "gptq"
    for name in quantized:
        own = {part: rest.pop(f"{name}.{part}") for part in PARTS if f"{name}.{part}" in rest}
        if "bias" in own:
            own["bias"] = own["bias"].to(dtype)
        layer = from_checkpoint(own, config.bits, config.group_size, form)
        _check_place(folder, model, name, layer)
        model.set_submodule(name, layer)
    rest = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in rest.items()}
    found = model.load_state_dict(rest, strict=False, assign=True)
    model.tie_weights()
    own_names = {f"{name}.{key}" for name in quantized for key in model.get_submodule(name).tensors()}
    absent = sorted(name for name in set(found.missing_keys) - own_names if model.state_dict()[name].is_meta)
    if absent:
        raise CorruptArtifact(f"{folder} lacks the weight '{absent[0]}' ({len(absent)} in all); download it again.")
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model


def _check_place(folder: Path, model: PreTrainedModel, name: str, layer: GridLinear) -> None:
    try:
        linear = model.get_submodule(name)
    except AttributeError as error:
        raise CorruptArtifact(f"{folder} quantizes '{name}', which the model does not have.") from error
    found, wanted = (layer.out_features, layer.in_features), tuple(getattr(linear, "weight", torch.empty(0)).shape)
    if found != wanted:
        raise CorruptArtifact(f"'{name}' of {folder} is {found[0]} x {found[1]}, the model needs {wanted}.")
