"""Checkpoints in the formats of other software: transformers folders with other tensors for the linears."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.artifacts.layout import CONFIG, MANIFEST
from qharness.artifacts.tensorfiles import INDEX, read_headers
from qharness.errors import CorruptArtifact, UsageError
from qharness.models.loaded import LoadedModel, LoadRequest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qharness.jobs.export import ExportRequest
    from qharness.quantization.linear import QuantizedLinear

SHARD_SIZE = "2GB"


def quantization_of(reference: str | Path) -> dict[str, Any]:
    """Return the quantization_config of a local folder's config.json; empty if there is none. Imports nothing heavy."""
    try:
        config = json.loads((Path(reference).expanduser() / CONFIG).read_text(encoding="utf-8"))
        found = config["quantization_config"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def write_public(
    request: ExportRequest,
    convert: Callable[[QuantizedLinear], Mapping[str, Tensor]],
    describe: Callable[[Mapping[str, QuantizedLinear], list[str]], Mapping[str, Any]],
) -> None:
    """Write an artifact as a transformers folder whose linears have the tensors of another format.

    Args:
        request: The artifact and the folder to write into.
        convert: Tensors of a quantized linear, by their names in the other format.
        describe: The quantization_config, from the quantized linears and the names of those that are not quantized.

    Raises:
        UsageError: The artifact needs runtime transforms, which such a checkpoint cannot carry.
    """
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    from qharness.artifacts.install import linear_class, read_linears, read_tensors

    artifact, out = request.artifact, request.out
    needed = [entry.id for entry in artifact.transforms if entry.required]
    if needed:
        raise UsageError(f"{request.path} needs the runtime transform '{needed[0]}', which this format cannot carry.")
    linears = dict(read_linears(artifact, linear_class(artifact, request.host)))
    tensors = read_tensors(t for name, t in artifact.stored.items() if name.rpartition(".")[0] not in linears)
    for name, linear in linears.items():
        own = dict(convert(linear)) | ({} if linear.bias is None else {"bias": linear.bias})
        tensors |= {f"{name}.{key}": tensor.contiguous().clone() for key, tensor in own.items()}
    split = split_torch_state_dict_into_shards(tensors, max_shard_size=SHARD_SIZE)
    for filename, names in split.filename_to_tensors.items():
        save_file({name: tensors[name] for name in names}, out / filename, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (out / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    config = json.loads((request.path / CONFIG).read_text(encoding="utf-8"))
    plain = sorted(set(_linear_names(request.path)) - set(linears))
    config["quantization_config"] = dict(describe(linears, plain))
    (out / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for file in sorted(request.path.iterdir()):
        if file.is_file() and file.suffix != ".safetensors" and file.name not in (CONFIG, MANIFEST, INDEX):
            shutil.copyfile(file, out / file.name)


def load_public(
    request: LoadRequest, quantized: Callable[[str, Mapping[str, Tensor], nn.Linear], QuantizedLinear | None]
) -> LoadedModel:
    """Load a transformers folder whose linears have the tensors of another format.

    Args:
        request: A local folder.
        quantized: Builds a quantized linear from its module name, the tensors stored under that name, and the linear
            (without memory) that it replaces; None leaves the module as it is.

    Raises:
        CorruptArtifact: A file is invalid, or weights are missing.
        UsageError: Transforms of such a checkpoint are to be ablated.
    """
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

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
        del config.quantization_config
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    modules = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    plain = dict(headers)
    for name, stored in by_module(headers.values(), modules).items():
        linear = quantized(name, read_tensors(stored, name), modules[name])
        if linear is not None:
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
    return LoadedModel(
        model=model.eval().to(torch.device(request.device)),
        tokenizer=load_tokenizer(str(folder), local=True, trust_remote_code=request.trust_remote_code),
        reference=request.reference,
        digest=stored_digest(headers.values()),
        dtype=dtype,
    )


def _linear_names(folder: Path) -> list[str]:
    """Return the names of all linears of the model that a folder's configuration describes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
