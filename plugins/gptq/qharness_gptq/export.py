"""Write an artifact of packed grid layers as a GPTQ checkpoint."""

from __future__ import annotations

import json
import logging
import shutil
from typing import TYPE_CHECKING

from qharness import __version__
from qharness.artifacts.conversion import unquantized_tensors
from qharness.artifacts.install import linear_class, read_linears
from qharness.artifacts.writer import write_weights
from qharness.errors import UsageError
from qharness.quantization.grid_linear import GridLinear
from qharness_gptq.checkpoint import CONFIG, OWN_CONFIG, CheckpointConfig
from qharness_gptq.packing import Format, to_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from qharness.artifacts.reader import Artifact
    from qharness.jobs.export import ExportRequest

log = logging.getLogger(__name__)
COPIED = (".json", ".jinja", ".model", ".txt")


def write_checkpoint(request: ExportRequest, form: Format) -> None:
    """Write the artifact in a GPTQ format.

    Raises:
        UsageError: The artifact is not of packed grid layers, needs a transform at run time, or the format cannot hold
            it.
    """
    artifact = request.artifact
    _check(artifact)
    kind = linear_class(artifact, request.host)
    if not issubclass(kind, GridLinear):
        raise UsageError(f"Format '{form}' holds uniform grids; artifacts of '{artifact.plugin}' are none.")
    layers: dict[str, GridLinear] = {}
    weights: dict[str, Tensor] = unquantized_tensors(artifact)
    for name, layer in read_linears(artifact, kind):
        assert isinstance(layer, GridLinear)
        layers[name] = layer
        weights |= {f"{name}.{key}": tensor for key, tensor in to_checkpoint(layer, form).items()}
    config = _config(layers, form)
    if form == "gptq" and any(bool((layer.codes_and_zeros()[1] == 0).any()) for layer in layers.values()):
        log.warning(
            "Some zeros are 0: GPTQModel reads this checkpoint exactly, software that adds one to each zero by itself "
            "does not; format gptq_v2 has no such case."
        )
    write_weights(request.out, weights)
    meta = {"quantizer": [f"qharness:{__version__}"], "plugin": artifact.plugin, "digest": artifact.digest}
    own = config.to_json(meta)
    whole = json.loads((request.path / CONFIG).read_text(encoding="utf-8")) | {"quantization_config": own}
    for path in sorted(request.path.iterdir()):
        if path.suffix in COPIED and path.name not in (CONFIG, "manifest.json", "model.safetensors.index.json"):
            shutil.copy(path, request.out / path.name)
    for name, data in ((CONFIG, whole), (OWN_CONFIG, own)):
        (request.out / name).write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _check(artifact: Artifact) -> None:
    needed = sorted({entry.id for entry in artifact.transforms if entry.required and entry.needed_if is None})
    if needed:
        raise UsageError(
            f"{artifact.path} needs {', '.join(needed)} at run time, which GPTQ checkpoints cannot express; "
            "export an artifact without online transforms."
        )


def _config(layers: dict[str, GridLinear], form: Format) -> CheckpointConfig:
    groups = {layer.group for layer in layers.values()}
    is_whole = all(layer.group == layer.in_features for layer in layers.values())
    if len(groups) > 1 and not is_whole:
        raise UsageError(
            f"GPTQ checkpoints have one group size for all linears; this artifact has {sorted(groups)}. "
            "Quantize with a group_size that divides every input size."
        )
    first = next(iter(layers.values()))
    return CheckpointConfig(
        bits=first.bits,
        group_size=-1 if is_whole else first.group,
        form=form,
        desc_act=any("g_idx" in layer.tensors() for layer in layers.values()),
        sym=all(layer.fixed_zero is not None for layer in layers.values()),
    )
