"""The exporter `qtip`: an artifact as a published QTIP checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qharness.artifacts.conversion import write_converted
from qharness.errors import UsageError
from qharness.quantization.incoherence import sign_vectors
from qharness_qtip.linear import TrellisLinear
from qharness_qtip.loading import CODES, SECTION
from qharness_qtip.public import has_kernel_layout, to_public
from qharness_qtip.tiles import TILE

if TYPE_CHECKING:
    from qharness.jobs.export import ExportRequest
    from qharness.quantization.linear import QuantizedLinear


def write_public(request: ExportRequest) -> None:
    """Write a published checkpoint: unfused, float16 besides the output signs.

    Raises:
        UsageError: The artifact was quantized with other Hadamard factors or another code than the layout has, has
            biases, or sizes that it cannot hold.
    """
    artifact = request.artifact
    options, modes = artifact.quantization["options"], {code: mode for mode, code in CODES.items()}
    if options.get("hadamard") != "public":
        raise UsageError(
            "The published QTIP layout has Hadamard factors of its own; "
            "quantize again with `--set qtip.hadamard=public`."
        )
    if options["code"] not in modes:
        raise UsageError(f"The published QTIP layout has no code '{options['code']}'; it has {', '.join(modes)}.")
    vectors = sign_vectors(artifact)

    def convert(name: str, linear: QuantizedLinear) -> Mapping[str, Tensor]:
        assert isinstance(linear, TrellisLinear)
        left, right = vectors[name]
        assert right is not None
        return _tensors(name, linear, left, right)

    # Every linear of an artifact has the same trellis, so the first one's is that of the configuration.
    spec = next(iter(artifact.modules.values()))
    write_converted(
        artifact, request.out, request.host, convert,
        section=SECTION, quantization_config=_params(spec, modes[options["code"]]), dtype="float16", folded=("rht",),
    )  # fmt: skip


def _params(spec: Mapping[str, Any], mode: str) -> dict[str, Any]:
    return {
        "codebook": "bitshift",
        "codebook_version": 0,
        "L": spec["state_bits"],
        "K": spec["bits"],
        "V": spec["vector"],
        "tlut_bits": spec["lut_bits"],
        "decode_mode": mode,
        "td_x": TILE.rows,
        "td_y": TILE.columns,
        "split_for_tp": False,
        "skip_list": None,
    }


def _tensors(name: str, linear: TrellisLinear, left: Tensor, right: Tensor) -> dict[str, Tensor]:
    if linear.bias is not None:
        raise UsageError(f"'{name}' has a bias, which the published QTIP layout does not hold.")
    buffers = linear.tensors()
    moved = has_kernel_layout(linear.code, linear.shape, buffers.get("lut"))
    found = {
        "trellis": to_public(buffers["trellis"], moved=moved),
        "SU": left.half(),
        "SV": right.float() * buffers["scale"],
        "rcp": torch.tensor(0),
        "tp_rank": torch.tensor(8),
    }
    return found | ({"tlut": buffers["lut"]} if "lut" in buffers else {})
