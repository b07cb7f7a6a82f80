"""Read model folders of other quantization methods, with their linears as they are stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.artifacts.layout import CONFIG
from qharness.artifacts.tensorfiles import read_headers
from qharness.errors import CorruptArtifact, UsageError
from qharness.models.loaded import LoadedModel, LoadRequest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qharness.quantization.linear import QuantizedLinear


def section_of(reference: str | Path, section: str) -> dict[str, Any]:
    """Return a section of a local folder's config.json; empty if there is none. Imports nothing heavy."""
    try:
        config = json.loads((Path(reference).expanduser() / CONFIG).read_text(encoding="utf-8"))
        found = config[section]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def quantization_of(reference: str | Path) -> dict[str, Any]:
    """Return the quantization_config of a local folder's config.json; empty if there is none."""
    return section_of(reference, "quantization_config")


def load_public(
    request: LoadRequest, quantized: Callable[[str, Mapping[str, Tensor], nn.Linear], QuantizedLinear | None]
) -> LoadedModel:
    """Load a transformers folder whose linears have the tensors of another format.

    Args:
        request: A local folder.
        quantized: Builds a quantized linear from its module name, the tensors stored under that name, and the linear
            (without memory) that it replaces; None leaves the module as it is.

    Raises:
        CorruptArtifact: A file is invalid, weights are missing, or a linear has another size than the model needs.
        UsageError: Transforms of such a checkpoint are to be ablated.
    """
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    from qharness.artifacts.digest import stored_digest
    from qharness.artifacts.install import by_module, read_tensors
    from qharness.models.hub import load_tokenizer, quiet_loading, torch_dtype

    if request.ablate:
        raise UsageError(f"{request.reference} has no runtime transforms; drop `--ablate`.")
    folder = Path(request.reference).expanduser()
    headers = read_headers(folder)
    with quiet_loading(), init_empty_weights(include_buffers=False):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=request.trust_remote_code)
        named = torch_dtype(request.dtype)
        dtype = named if isinstance(named, torch.dtype) else config.dtype or torch.float32
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    modules = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    plain = dict(headers)
    for name, stored in by_module(headers.values(), modules).items():
        linear = quantized(name, read_tensors(stored, name), modules[name])
        if linear is not None:
            found, wanted = (linear.out_features, linear.in_features), tuple(modules[name].weight.shape)
            if found != wanted:
                raise CorruptArtifact(f"'{name}' of {folder} is {found[0]} x {found[1]}, the model needs {wanted}.")
            if linear.bias is not None:
                linear.bias = linear.bias.to(dtype)
            model.set_submodule(name, linear)
            for item in stored:
                del plain[item.name]
    weights = {name: tensor.to(dtype) for name, tensor in read_tensors(plain.values()).items()}
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    absent = sorted(name for name, value in model.named_parameters() if value.is_meta)
    if absent:
        raise CorruptArtifact(f"{folder} lacks the weight '{absent[0]}' ({len(absent)} in all); download it again.")
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return LoadedModel(
        model=model.eval().to(torch.device(request.device)),
        tokenizer=load_tokenizer(str(folder), local=True, trust_remote_code=request.trust_remote_code),
        reference=request.reference,
        digest=stored_digest(headers.values()),
        dtype=dtype,
    )
