"""A packed grid layer as the tensors of a GPTQ checkpoint, and back.

A checkpoint stores, for a linear of n inputs and m outputs in groups of g: `qweight` int32 (n * bits / 32, m), codes
packed along the input; `qzeros` int32 (n / g, m * bits / 32), zeros packed along the output; `scales` float16
(n / g, m); `g_idx` int32 (n,), the group of every input. The grid layer keeps the same words transposed.

Format `gptq` stores every zero less one; `gptq_v2` stores it as it is. For 2, 4 and 8 bits the difference is taken of
whole words, as GPTQModel does, so that a zero of 0 borrows from its neighbour; software that adds one to every field of
its own reads such words wrongly. For 3 bits it is taken of every field, modulo 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from qharness.errors import CorruptArtifact, UsageError
from qharness.quantization.grid_linear import GridLinear
from qharness.quantization.packing import WORD, pack, unpack

Format = Literal["gptq", "gptq_v2"]
FORMATS: tuple[Format, ...] = ("gptq", "gptq_v2")


def shift_zeros(words: Tensor, bits: int, amount: Literal[1, -1]) -> Tensor:
    """Add one to every packed zero, or take one away, as format 1 does.

    Args:
        words: Packed zeros, shape (..., words), int32.
        bits: Bits per zero.
        amount: 1 from format 1 to 2, -1 from format 2 to 1.
    """
    if bits == 3:
        count = words.shape[-1] * WORD // bits
        return pack((unpack(words, bits, count).int() + amount) % 8, bits)
    ones = sum(1 << shift for shift in range(0, WORD, bits))
    moved = (words.long() + amount * ones) & 0xFFFFFFFF
    return torch.where(moved >= 2**31, moved - 2**32, moved).to(torch.int32)


def to_checkpoint(layer: GridLinear, form: Format) -> dict[str, Tensor]:
    """Return the layer's tensors as a GPTQ checkpoint stores them; no number changes.

    Raises:
        UsageError: The format cannot hold the layer: its zeros are no integers, or sizes do not fill whole words.
    """
    if layer.zero_kind == "float16" or (layer.fixed_zero is not None and layer.fixed_zero % 1):
        raise UsageError(
            "GPTQ checkpoints hold integer zeros only; quantize with grid=asymmetric or grid=symmetric to export."
        )
    for size in (layer.in_features, layer.out_features):
        if size * layer.bits % WORD:
            raise UsageError(
                f"A linear of {layer.in_features} inputs and {layer.out_features} outputs does not fill whole 32-bit "
                f"words with {layer.bits}-bit codes, as GPTQ checkpoints need."
            )
    tensors, columns = layer.tensors(), torch.arange(layer.in_features)
    scales = tensors["scales"].T.contiguous()
    if layer.zero_kind == "packed":
        zeros = tensors["zeros"]
    else:
        zeros = pack(torch.full(scales.shape, int(layer.fixed_zero or 0)), layer.bits)
    found = {
        "qweight": tensors["codes"].T.contiguous(),
        "qzeros": zeros if form == "gptq_v2" else shift_zeros(zeros, layer.bits, -1),
        "scales": scales,
        "g_idx": tensors.get("g_idx", columns // layer.group).int(),
    }
    return found if layer.bias is None else found | {"bias": layer.bias}


def from_checkpoint(tensors: Mapping[str, Tensor], bits: int, group: int, form: Format) -> GridLinear:
    """Rebuild a layer from a checkpoint's tensors.

    Args:
        tensors: `qweight`, `qzeros`, `scales`, `g_idx` and, where there is one, `bias`.
        bits: Bits per weight.
        group: Columns per group; -1 for all.
        form: Format of the zeros.

    Raises:
        CorruptArtifact: A tensor is absent, or sizes contradict each other.
    """
    missing = sorted({"qweight", "qzeros", "scales"} - set(tensors))
    if missing:
        raise CorruptArtifact(f"A linear of a GPTQ checkpoint lacks '{missing[0]}'; download it again.")
    columns = tensors["qweight"].shape[0] * WORD // bits
    group = columns if group <= 0 else group
    runs = torch.arange(columns) // group
    own = {
        "codes": tensors["qweight"].T.contiguous(),
        "zeros": tensors["qzeros"] if form == "gptq_v2" else shift_zeros(tensors["qzeros"], bits, 1),
        "scales": tensors["scales"].T.half().contiguous(),
    }
    g_idx = tensors.get("g_idx", runs)
    is_sorted = bool(torch.equal(g_idx.long(), runs))
    if not is_sorted:
        own["g_idx"] = g_idx.to(torch.int16)
    if "bias" in tensors:
        own["bias"] = tensors["bias"]
    spec = {
        "in_features": columns,
        "out_features": tensors["qweight"].shape[1],
        "bits": bits,
        "group": group,
        "zeros": "packed",
        "zero": None,
        "g_idx": not is_sorted,
    }
    return GridLinear.from_tensors(own, spec)
