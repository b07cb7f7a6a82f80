"""The loader of published QTIP checkpoints: dense weights, for evaluation and comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qharness.artifacts.tensorfiles import weight_files
from qharness.errors import CorruptArtifact, UnsupportedArchitecture, UsageError
from qharness.models.architecture import ARCHITECTURES
from qharness.models.dense import dense_model
from qharness.models.hub import torch_dtype
from qharness_kernels.hadamard.public import public_hadamard
from qharness_kernels.trellis import Trellis
from qharness_qtip.linear import TrellisLinear
from qharness_qtip.public import from_public, has_kernel_layout
from qharness_qtip.tiles import TILE

if TYPE_CHECKING:
    from qharness.models.loaded import LoadedModel, LoadRequest

CODES = {"quantlut_sym": "hyb", "1mad": "1mad", "3inst": "3inst"}
"""Our names by `decode_mode`."""


def load_public(request: LoadRequest) -> LoadedModel:
    """Load a published checkpoint as a dense model; linears of its `skip_list` are dense there already.

    Raises:
        CorruptArtifact: Tensors are missing or contradict the configuration.
        UnsupportedArchitecture: The model is no Llama or Mistral, or its code or tiles are not known.
        UsageError: Transforms are to be ablated: they are folded into the dense weights.
    """
    from safetensors.torch import load_file
    from transformers import AutoConfig

    if request.ablate:
        raise UsageError(f"{request.reference} is loaded with its transforms folded in; drop `--ablate`.")
    folder = Path(request.reference).expanduser()
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if raw.get("model_type") not in ARCHITECTURES:
        raise UnsupportedArchitecture(
            f"{folder} has the architecture '{raw.get('model_type')}'; llama and mistral are read."
        )
    config = AutoConfig.for_model(
        **{key: value for key, value in raw.items() if key not in ("quip_params", "auto_map")}
    )
    named = torch_dtype(request.dtype)
    dtype = named if isinstance(named, torch.dtype) else torch.float16
    stored = {name: tensor for path in weight_files(folder) for name, tensor in load_file(path).items()}
    owners = {name.rpartition(".")[0] for name in stored if name.endswith(".trellis")}
    state = {name: tensor.to(dtype) for name, tensor in stored.items() if name.rpartition(".")[0] not in owners}
    for owner in sorted(owners):
        own = {name.rpartition(".")[2]: tensor for name, tensor in stored.items() if name.rpartition(".")[0] == owner}
        state[f"{owner}.weight"] = public_weight(own, raw["quip_params"], owner).to(dtype)
    return dense_model(
        request, config, state, dtype, f"The weights come from a published QTIP checkpoint: {folder.name}."
    )


def public_weight(tensors: Mapping[str, Tensor], params: Mapping[str, Any], name: str) -> Tensor:
    """Return the dense weight of a linear of a published checkpoint, shape (m, n), float32.

    W = diag(SV) H_m decode(trellis) H_n^T diag(SU).

    Args:
        tensors: `trellis`, `SU`, `SV`, with a table `tlut`.
        params: `quip_params` of the configuration.
        name: Name of the linear, for errors.

    Raises:
        CorruptArtifact: A tensor is missing or sizes disagree.
        UnsupportedArchitecture: The code or its tiles are not known, or the Hadamards are split over GPUs.
    """
    mode = str(params.get("decode_mode"))
    if mode not in CODES or (params.get("td_x"), params.get("td_y")) != TILE or params.get("codebook_version", 0) != 0:
        raise UnsupportedArchitecture(
            f"'{name}' has the code '{mode}' in tiles of {params.get('td_x')} x {params.get('td_y')}; "
            f"{', '.join(CODES)} in tiles of 16 x 16 are read."
        )
    if int(tensors.get("rcp", torch.zeros(()))):
        raise UnsupportedArchitecture(f"'{name}' was split for tensor parallelism (rcp); only whole linears are read.")
    needed = {"trellis", "SU", "SV"} | ({"tlut"} if CODES[mode] == "hyb" else set())
    if needed - set(tensors):
        raise CorruptArtifact(f"'{name}' lacks {sorted(needed - set(tensors))}; download the checkpoint again.")
    trellis = Trellis(int(params["L"]), int(params["K"]), int(params["V"]))
    left, right, stored = tensors["SU"].float(), tensors["SV"].float(), tensors["trellis"]
    rows, columns = len(right) // TILE.rows, len(left) // TILE.columns
    if tuple(stored.shape) != (rows * columns, TILE.columns * trellis.bits):
        raise CorruptArtifact(
            f"'{name}' has a trellis of shape {tuple(stored.shape)} for {len(right)} x {len(left)} weights "
            f"of {trellis.bits} bits; download the checkpoint again."
        )
    moved = has_kernel_layout(CODES[mode], trellis, tensors.get("tlut"))
    payload = from_public(stored, rows, columns, moved=moved)
    order = "fragment" if moved else "rows"
    layer = TrellisLinear(payload, torch.ones(1), trellis, CODES[mode], tensors.get("tlut"), order, None)
    try:
        weight = public_hadamard(public_hadamard(layer.dequantize()).mul_(left).T.contiguous()).T
    except ValueError as error:
        raise CorruptArtifact(f"'{name}': {error}") from error
    return weight * right[:, None]
