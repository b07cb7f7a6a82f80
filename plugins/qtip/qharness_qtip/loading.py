"""The loader of published QTIP checkpoints: dense weights, for evaluation and comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qharness.artifacts.public import section_of
from qharness.errors import CorruptArtifact, UnsupportedArchitecture
from qharness.models.dense import load_dense
from qharness.quantization.incoherence import Rht, restore_weight
from qharness_kernels.trellis import Trellis
from qharness_qtip.linear import TrellisLinear
from qharness_qtip.public import from_public, has_kernel_layout
from qharness_qtip.tiles import TILE

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from qharness.models.loaded import LoadedModel, LoadRequest

SECTION = "quip_params"
CODES = {"quantlut_sym": "hyb", "1mad": "1mad", "3inst": "3inst"}
"""Our names by `decode_mode`."""


def load_public(request: LoadRequest) -> LoadedModel:
    """Load a published checkpoint as a dense model; linears of its `skip_list` are dense there already.

    Raises:
        CorruptArtifact: Tensors are missing or contradict the configuration.
        UnsupportedArchitecture: The model is no Llama or Mistral, or its code or tiles are not known.
        UsageError: Transforms are to be ablated: they are folded into the dense weights.
    """
    folder = Path(request.reference).expanduser()
    params = section_of(folder, SECTION)

    def decode(name: str, tensors: Mapping[str, Tensor], _: PretrainedConfig) -> Mapping[str, Tensor]:
        return {f"{name}.weight": public_weight(tensors, params, name)}

    notice = f"The weights come from a published QTIP checkpoint: {folder.name}."
    return load_dense(request, SECTION, "trellis", decode, notice)


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
        return restore_weight(layer.dequantize(), Rht(left, family="public"), Rht(right, family="public"))
    except ValueError as error:
        raise CorruptArtifact(f"'{name}': {error}") from error
