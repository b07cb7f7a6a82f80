"""Safetensors files as bytes: headers, completeness, raw tensor bytes. Needs neither torch nor numpy."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from qharness.errors import CorruptArtifact, MissingModel

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class StoredTensor(NamedTuple):
    """Where a tensor lies: file, safetensors dtype name, shape, and byte range within the file."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(path: Path) -> list[StoredTensor]:
    """Return the tensors of a safetensors file.

    Raises:
        CorruptArtifact: The file is absent, has no valid header, or is shorter or longer than the header says.
    """
    if not path.is_file():
        raise CorruptArtifact(f"{path} is missing; copy or download the model again.")
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError("no header")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        base = 8 + length
        tensors = [
            StoredTensor(name, path, str(info["dtype"]), tuple(int(n) for n in info["shape"]),
                         base + int(info["data_offsets"][0]), base + int(info["data_offsets"][1]))
            for name, info in header.items()
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise CorruptArtifact(f"{path} is no valid safetensors file; copy or download it again.") from error
    end = max((tensor.stop for tensor in tensors), default=base)
    if end != size:
        state = "truncated" if size < end else "longer than its header says"
        raise CorruptArtifact(f"{path} is {state} ({size:,} of {end:,} bytes); copy or download it again.")
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model folder: the one file, or the shards that its index names.

    Raises:
        MissingModel: There are no safetensors weights.
        CorruptArtifact: The index is unreadable or names files outside the folder.
    """
    index = folder / INDEX
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptArtifact(f"{index} is no valid index of shards; copy or download it again.") from error
        if any(not isinstance(name, str) or Path(name).name != name for name in names):
            raise CorruptArtifact(f"{index} names a file outside its folder; do not use this model.")
        return [folder / name for name in names]
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    raise MissingModel(f"{folder} has no {SINGLE} and no {INDEX}; only safetensors weights are read.")


def read_headers(folder: Path) -> dict[str, StoredTensor]:
    """Return all weights of a model folder by name, after checking that every file is complete.

    Raises:
        MissingModel: There are no safetensors weights.
        CorruptArtifact: A file is missing, truncated or invalid, or a name occurs twice.
    """
    found: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        for tensor in read_header(path):
            if tensor.name in found:
                raise CorruptArtifact(f"{folder} stores the tensor '{tensor.name}' twice; write or download it again.")
            found[tensor.name] = tensor
    return found


def iterate_bytes(tensors: list[StoredTensor], chunk: int = 1 << 24) -> Iterator[tuple[StoredTensor, Iterator[bytes]]]:
    """Yield each tensor with an iterator over its raw bytes, in the given order."""
    maps: dict[Path, mmap.mmap] = {}
    try:
        for tensor in tensors:
            if tensor.file not in maps:
                with tensor.file.open("rb") as stream:
                    maps[tensor.file] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            view = maps[tensor.file]
            yield tensor, (view[i : min(i + chunk, tensor.stop)] for i in range(tensor.start, tensor.stop, chunk))
    finally:
        for view in maps.values():
            view.close()
