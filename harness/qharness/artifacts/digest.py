"""Digests: what identifies a model's tensors and an artifact.

SHA-256 over the tensors in the order of their names: for each, a JSON line [name, dtype, shape] and its bytes in
little-endian row-major order (the safetensors layout). A model in memory and the files it was loaded from without a
change of type have the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.artifacts.tensorfiles import StoredTensor, iterate_bytes, read_headers

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

DTYPE_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip


def canonical_json(data: Any) -> bytes:
    """Return JSON with sorted keys and no spaces; equal data give equal bytes."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the digest of named tensors in memory."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        dtype = DTYPE_NAMES[str(tensor.dtype).removeprefix("torch.")]
        _begin(digest, name, dtype, tensor.shape)
        flat = tensor.to("cpu").contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def stored_digest(tensors: Iterable[StoredTensor]) -> str:
    """Return the digest of tensors in safetensors files; equal to `tensors_digest` of the same tensors."""
    digest = hashlib.sha256()
    for tensor, chunks in iterate_bytes(sorted(tensors, key=lambda t: t.name)):
        _begin(digest, tensor.name, tensor.dtype, tensor.shape)
        for chunk in chunks:
            digest.update(chunk)
    return digest.hexdigest()


def model_digest(model: PreTrainedModel) -> str:
    """Return the digest of a model's parameters and persistent buffers.

    Tensors that are tied to another one (a head tied to the embeddings) are left out, as checkpoints do.
    """
    return tensors_digest(own_tensors(model))


def files_digest(folder: Path) -> str:
    """Return the digest of a model folder's safetensors weights.

    Raises:
        MissingModel: There are no safetensors weights.
        CorruptArtifact: A file is truncated or invalid.
    """
    return stored_digest(read_headers(folder).values())


def own_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return a model's tensors without those that are only another name of a tied one."""
    state: dict[str, Tensor] = model.state_dict()
    tied: Mapping[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    return {
        name: tensor
        for name, tensor in state.items()
        if not (name in tied and tied[name] in state and state[tied[name]].data_ptr() == tensor.data_ptr())
    }


def _begin(digest: Any, name: str, dtype: str, shape: Iterable[int]) -> None:
    digest.update(canonical_json([name, dtype, [int(n) for n in shape]]) + b"\n")
