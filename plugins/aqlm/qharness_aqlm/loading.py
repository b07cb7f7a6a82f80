"""The loader of public AQLM checkpoints; it needs neither the `aqlm` package nor its kernels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from qharness.models.loaded import LoadedModel, LoadRequest

if TYPE_CHECKING:
    from torch import Tensor, dtype

    from qharness.artifacts.tensorfiles import StoredTensor

METHOD = "aqlm"


def claims(reference: str) -> bool:
    """Return whether a reference is a folder whose config.json says that it is quantized by AQLM."""
    try:
        config = json.loads((Path(reference).expanduser() / "config.json").read_text(encoding="utf-8"))
        return bool(config["quantization_config"]["quant_method"] == METHOD)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def load(request: LoadRequest) -> LoadedModel:
    """Load a checkpoint with its linears decoded to the requested type.

    Raises:
        CorruptArtifact: A file is truncated, or a weight is missing.
        UsageError: The checkpoint groups outputs or has scales per group, or transforms are to be ablated.
    """
    import torch
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    from qharness.artifacts.digest import stored_digest
    from qharness.artifacts.tensorfiles import read_headers
    from qharness.errors import CorruptArtifact, UsageError
    from qharness.models.hub import load_tokenizer, quiet_loading, torch_dtype

    if request.ablate:
        raise UsageError(f"{request.reference} is no artifact and has no runtime transforms; drop `--ablate`.")
    folder = Path(request.reference).expanduser()
    headers = read_headers(folder)
    named = torch_dtype(request.dtype)
    kind = named if isinstance(named, torch.dtype) else torch.float16
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    del config.quantization_config
    with quiet_loading():
        model, report = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].from_pretrained(
            None,
            config=config,
            state_dict=_weights(headers, kind),
            dtype=kind,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    absent = sorted(report["missing_keys"])
    if absent:
        raise CorruptArtifact(f"{folder} lacks the weight '{absent[0]}' ({len(absent)} in all); download it again.")
    return LoadedModel(
        model=model.eval().to(torch.device(request.device)),
        tokenizer=load_tokenizer(str(folder), local=True),
        reference=request.reference,
        digest=stored_digest(headers.values()),
        dtype=kind,
        notice=f"The weights are decoded from an AQLM checkpoint: {folder.name}.",
    )


def _weights(headers: dict[str, StoredTensor], kind: dtype) -> dict[str, Tensor]:
    from safetensors import safe_open

    from qharness.errors import CorruptArtifact
    from qharness_aqlm.public import from_public
    from qharness_kernels.codebook import decode_additive

    def read(name: str) -> Tensor:
        if name not in headers:
            raise CorruptArtifact(f"The checkpoint lacks the tensor '{name}'; download it again.")
        with safe_open(headers[name].file, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    owners = {name.removesuffix(".codes") for name in headers if name.endswith(".codes")}
    own = {f"{owner}.{part}" for owner in owners for part in ("codes", "codebooks", "scales")}
    weights = {name: read(name).to(kind) for name in headers if name not in own}
    for owner in sorted(owners):
        parts = from_public(*(read(f"{owner}.{part}") for part in ("codes", "codebooks", "scales")))
        weights[f"{owner}.weight"] = decode_additive(*parts).to(kind)
    return weights
