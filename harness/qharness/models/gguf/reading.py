"""Opening a GGUF file: metadata and stored tensors, checked for completeness."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.errors import CorruptArtifact, MissingModel

if TYPE_CHECKING:
    from gguf import ReaderTensor

MAGIC = b"GGUF"
TOKENIZER_SHA256 = "qharness.tokenizer.sha256"
"""Setting that holds the SHA-256 of the tokenizer.json a file was written with."""


@dataclass(frozen=True)
class GgufFile:
    """An open GGUF file.

    Attributes:
        path: Where it lies.
        metadata: Key-value pairs, without the tokenizer's long lists.
        tensors: Stored tensors by their GGUF name, still quantized.
    """

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, ReaderTensor]

    def types(self) -> list[str]:
        """Return the names of the storage types in the file, the one with the most values first."""
        sizes: dict[str, int] = {}
        for tensor in self.tensors.values():
            sizes[tensor.tensor_type.name] = sizes.get(tensor.tensor_type.name, 0) + int(tensor.n_elements)
        return sorted(sizes, key=lambda name: -sizes[name])

    def digest(self) -> str:
        """Return the SHA-256 over the tensors in the order of their names, as they are stored.

        For each: a JSON line [name, type, shape] and its bytes.
        """
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            head = [name, tensor.tensor_type.name, [int(size) for size in tensor.shape]]
            digest.update(json.dumps(head, separators=(",", ":")).encode() + b"\n")
            digest.update(tensor.data.tobytes())
        return digest.hexdigest()


def open_gguf(path: Path) -> GgufFile:
    """Open a file.

    Raises:
        MissingModel: There is no such file.
        CorruptArtifact: It is no GGUF file, or it is truncated.
    """
    from gguf import GGUFReader

    if not path.is_file():
        raise MissingModel(f"There is no GGUF file '{path}'; check the path.")
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise CorruptArtifact(f"{path} is no GGUF file (its first bytes are not 'GGUF'); download it again.")
    try:
        reader = GGUFReader(path)
        metadata = {name: field.contents() for name, field in reader.fields.items() if not _is_long(name)}
        tensors = {tensor.name: tensor for tensor in reader.tensors}
    except (ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError) as error:
        raise CorruptArtifact(f"{path} is truncated or damaged; download it again.") from error
    return GgufFile(path, metadata, tensors)


def _is_long(name: str) -> bool:
    return name in (
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.scores",
    )
