"""Checkpoints of a quantization: one file per finished block."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qharness.results.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from qharness.quantization.linear import QuantizedLinear

log = logging.getLogger(__name__)
SEPARATOR = "/"
CHANGED = "changed"


class QuantizedBlock(NamedTuple):
    """The quantized linears of a block by name relative to it, what was measured of each, and what training changed."""

    linears: dict[str, QuantizedLinear]
    measured: dict[str, dict[str, float]]
    changed: dict[str, Tensor]


def save_block(folder: Path, index: int, block: QuantizedBlock) -> None:
    """Write the checkpoint of a block."""
    from safetensors.torch import save_file

    tensors = {
        f"{name}{SEPARATOR}{key}": tensor.detach().cpu().contiguous()
        for name, linear in block.linears.items()
        for key, tensor in linear.tensors().items()
    }
    tensors |= {f"{CHANGED}{SEPARATOR}{key}": tensor.cpu().contiguous() for key, tensor in block.changed.items()}
    header = {"specs": {name: linear.spec() for name, linear in block.linears.items()}, "measured": block.measured}
    write_atomically(_path(folder, index), partial(save_file, tensors, metadata={"block": json.dumps(header)}))


def load_block(folder: Path, index: int, kind: type[QuantizedLinear]) -> QuantizedBlock | None:
    """Read the checkpoint of a block; None where there is none, or none that can be read."""
    from safetensors import SafetensorError, safe_open

    path = _path(folder, index)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header: Mapping[str, Any] = json.loads(file.metadata()["block"])
            grouped: dict[str, dict[str, Any]] = {name: {} for name in (*header["specs"], CHANGED)}
            for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
                name, _, tensor = key.rpartition(SEPARATOR)
                grouped[name][tensor] = file.get_tensor(key)
        linears = {name: kind.from_tensors(grouped[name], spec) for name, spec in header["specs"].items()}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        log.warning("The checkpoint %s cannot be read (%s); the block is quantized again.", path, error)
        return None
    return QuantizedBlock(linears, header["measured"], grouped[CHANGED])


def _path(folder: Path, index: int) -> Path:
    return folder / f"block-{index:03d}.safetensors"
