"""The exporter `quip`: an artifact as a public QuIP# checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qharness.artifacts.conversion import write_converted
from qharness.errors import UsageError
from qharness.quantization.incoherence import sign_vectors
from qharness_quip_sharp.fused import FusedLinear
from qharness_quip_sharp.linear import LatticeLinear
from qharness_quip_sharp.loading import FUSED, SECTION, VERSION
from qharness_quip_sharp.public import CODEBOOKS, pack_indices

if TYPE_CHECKING:
    from qharness.jobs.export import ExportRequest
    from qharness.quantization.linear import QuantizedLinear

NAMES = {2: "E8P12", 3: "E8P12RVQ3B", 4: "E8P12RVQ4B"}
OPTIONS = {"fused": True, "row_scales": False, "hadamard": "public"}
"""What an artifact has to be quantized with."""


def write_public(request: ExportRequest) -> None:
    """Write a public checkpoint: q, k, v and up, gate stacked, one scale a stack, float16.

    Raises:
        UsageError: The artifact was quantized with other options than the layout can hold, has biases, or sizes that
            it cannot hold.
    """
    options = request.artifact.quantization["options"]
    if any(options.get(name) != value for name, value in OPTIONS.items()):
        wanted = " ".join(f"--set quip_sharp.{name}={str(value).lower()}" for name, value in OPTIONS.items())
        raise UsageError(f"The public QuIP# layout holds only what was quantized with `{wanted}`; quantize again so.")
    vectors = sign_vectors(request.artifact)

    def convert(name: str, linear: QuantizedLinear) -> Mapping[str, Tensor]:
        assert isinstance(linear, LatticeLinear)
        return _tensors(name, linear, vectors[name])

    bits = int(options["bits"])
    write_converted(
        request.artifact, request.out, request.host, convert,
        section=SECTION, quantization_config=_params(bits), dtype="float16", rename=stack_name, folded=("rht",),
    )  # fmt: skip


def stack_name(name: str) -> str:
    """Return the public name of a linear: that of the stack which it belongs to, if any."""
    parent, _, leaf = name.rpartition(".")
    group, _, _ = parent.rpartition(".")
    return next((f"{group}.{kind}" for kind, leaves in FUSED.items() if leaf in leaves), name)


def _params(bits: int) -> dict[str, Any]:
    return {
        "codebook": NAMES[bits],
        "codebook_version": VERSION,
        "codesz": 8,
        "idx_dtype": "torch.int64",
        "lora_rank": 0,
        "model_version": 1,
        "packsz": 4,
        "rescale_WH": False,
        "resid_scale_override": -1,
    }


def _tensors(name: str, linear: LatticeLinear, signs: tuple[Tensor, Tensor | None]) -> dict[str, Tensor]:
    """Return what the layout stores of a linear; nothing for a member that another one stores."""
    if linear.bias is not None:
        raise UsageError(f"'{name}' has a bias, which the public QuIP# layout does not hold.")
    if linear.shared:
        return {}
    buffers = linear.tensors()
    right = buffers["signs"] if isinstance(linear, FusedLinear) else signs[1]
    assert right is not None
    try:
        packed = pack_indices(linear.indices(), linear.bits)
    except ValueError as error:
        raise UsageError(f"'{name}' cannot be exported: {error}.") from error
    number = next(number for number, bits in CODEBOOKS.items() if bits == linear.bits)
    found = {
        "Qidxs": packed,
        "SU": signs[0].half(),
        "SV": (right.float() * buffers["scales"].float()).half(),
        "Wscale": torch.ones(()),
        "codebook_id": torch.tensor(number),
    }
    return found | ({"fuse_scales": buffers["fuse_scales"].float()} if isinstance(linear, FusedLinear) else {})
