"""Rewrite an artifact as a model folder of another quantization method."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.artifacts.install import linear_class, read_linears, read_tensors
from qharness.artifacts.layout import CONFIG, MANIFEST
from qharness.artifacts.tensorfiles import INDEX
from qharness.artifacts.writer import belongs, write_weights
from qharness.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from qharness.artifacts.reader import Artifact
    from qharness.host import Host
    from qharness.quantization.linear import QuantizedLinear

Convert = Callable[[str, "QuantizedLinear"], Mapping[str, "Tensor"]]


def write_converted(
    artifact: Artifact,
    out: Path,
    host: Host,
    convert: Convert,
    *,
    quantization_config: Mapping[str, Any] | None,
    dtype: str,
    section: str = "quantization_config",
    rename: Callable[[str], str] = str,
    folded: Collection[str] = (),
) -> None:
    """Write the artifact's model with other tensors for its quantized linears.

    Embeddings, norms and head go over in `dtype`, tokenizer and generation settings as they are.

    Args:
        artifact: An artifact without other runtime transforms than those that `folded` names.
        out: Empty folder.
        host: Registry with the artifact's plugin.
        convert: Tensors of a quantized linear in the other format, without the module's name, biases included.
        quantization_config: What `config.json` says of them; None for a plain model.
        dtype: Name of the floating-point type of everything else.
        section: Where in `config.json` that stands.
        rename: Name of a quantized linear in the other format.
        folded: Ids of transforms that `convert` takes over into its tensors.

    Raises:
        UsageError: The artifact needs runtime transforms, which other formats know nothing of.
    """
    import torch

    left = sorted({entry.id for entry in artifact.transforms} - set(folded))
    if left:
        names = ", ".join(left)
        raise UsageError(f"{artifact.path} needs the runtime transforms {names}, which this format cannot carry.")
    kind: torch.dtype = getattr(torch, dtype)
    weights = {
        name: tensor.to(kind) if tensor.is_floating_point() else tensor
        for name, tensor in unquantized_tensors(artifact).items()
    }
    for name, linear in read_linears(artifact, linear_class(artifact, host)):
        weights.update({f"{rename(name)}.{key}": tensor for key, tensor in convert(name, linear).items()})
    write_weights(out, weights)
    for path in sorted(artifact.path.iterdir()):
        if path.is_file() and path.suffix != ".safetensors" and path.name not in (CONFIG, MANIFEST, INDEX):
            shutil.copy(path, out / path.name)
    config = json.loads((artifact.path / CONFIG).read_text(encoding="utf-8"))
    config.pop("quantization_config")
    config["dtype"] = dtype
    if quantization_config is not None:
        config[section] = dict(quantization_config)
    (out / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def unquantized_tensors(artifact: Artifact) -> dict[str, Tensor]:
    """Return every stored tensor that belongs to no quantized linear, by name."""
    return read_tensors(item for item in artifact.stored.values() if not belongs(item.name, artifact.modules))
