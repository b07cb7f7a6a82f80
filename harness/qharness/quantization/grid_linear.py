"""A linear layer of packed grid codes with a scale and a zero per group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from torch import Tensor

from qharness.errors import CorruptArtifact
from qharness.quantization.linear import QuantizedLinear, check_shapes
from qharness.quantization.packing import pack, unpack, words_for
from qharness.rounding.grid import GridSpec, Scales
from qharness.serving.base import Packed
from qharness_kernels.int2.layout import supported

STORED_ZEROS: dict[tuple[str, str], Literal["packed", "float16", "fixed"]] = {
    ("asymmetric", "packed"): "packed",
    ("asymmetric", "float16"): "float16",
}


class GridLinear(QuantizedLinear):
    """y = x W^T + b with W[i, j] = scale[i, g] * (code[i, j] - zero[i, g]), g = j // group or g_idx[j].

    Buffers: `codes` int32 (out_features, words), packed along the input; `scales` float16 (out_features, groups);
    `zeros` int32 (groups, words), packed along the output, or float16 (out_features, groups), absent where the zero is
    one constant; `g_idx` int16 (in_features,), absent where groups are runs of columns; `bias`.

    Args:
        codes: Shape (out_features, in_features), 0 .. 2^bits - 1.
        scales: Scales and zeros, each of shape (out_features, groups).
        spec: The grid.
        group: Columns per group.
        bias: Shape (out_features,), or None.
        g_idx: Group of every column, shape (in_features,), each group `group` times; None for runs of columns.
    """

    def __init__(
        self,
        codes: Tensor,
        scales: Scales,
        spec: GridSpec,
        group: int,
        bias: Tensor | None,
        g_idx: Tensor | None = None,
    ) -> None:
        stored = {"codes": pack(codes, spec.bits), "scales": scales.scale.half()}
        kind = STORED_ZEROS.get((spec.grid, spec.zeros), "fixed")
        if kind == "packed":
            stored["zeros"] = pack(scales.zero.T, spec.bits)
        elif kind == "float16":
            stored["zeros"] = scales.zero.half()
        if g_idx is not None:
            stored["g_idx"] = g_idx.to(torch.int16)
        if bias is not None:
            stored["bias"] = bias.detach().clone()
        self._fill(stored, spec.bits, group, kind, spec.fixed_zero, codes.shape[1])

    def _fill(
        self, stored: Mapping[str, Tensor], bits: int, group: int, kind: str, zero: float | None, in_features: int
    ) -> None:
        super().__init__()
        self.bits, self.group, self.zero_kind, self.fixed_zero = bits, group, kind, zero
        self.in_features, self.out_features = in_features, stored["codes"].shape[0]
        for name in ("codes", "scales", "zeros", "g_idx", "bias"):
            if name in stored:
                self.register_buffer(name, stored[name])
        self.bias = stored.get("bias")

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> Self:
        """Rebuild the layer.

        Raises:
            CorruptArtifact: A tensor is missing or has another shape than the numbers in `spec` ask for.
        """
        rows, columns, bits, group = spec["out_features"], spec["in_features"], spec["bits"], spec["group"]
        wanted: dict[str, tuple[int, ...]] = {
            "codes": (rows, words_for(columns, bits)),
            "scales": (rows, columns // group),
        }
        if spec["zeros"] == "packed":
            wanted["zeros"] = (columns // group, words_for(rows, bits))
        elif spec["zeros"] == "float16":
            wanted["zeros"] = (rows, columns // group)
        if spec.get("g_idx"):
            wanted["g_idx"] = (columns,)
        check_shapes(tensors, wanted, "a grid layer")
        if spec.get("g_idx") and tensors["g_idx"].bincount(minlength=columns // group).ne(group).any():
            raise CorruptArtifact(f"Tensor 'g_idx' of a grid layer should name each group {group} times.")
        self = cls.__new__(cls)
        self._fill(
            {name: tensors[name] for name in (*wanted, "bias") if name in tensors},
            bits,
            group,
            spec["zeros"],
            spec.get("zero"),
            columns,
        )
        return self

    def spec(self) -> dict[str, Any]:
        """Return the sizes, bits, group, and how zeros are stored."""
        numbers = {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bits": self.bits,
            "group": self.group,
            "zeros": self.zero_kind,
            "zero": self.fixed_zero,
        }
        return numbers | {"g_idx": True} if "g_idx" in self.tensors() else numbers

    def columns(self) -> Tensor | None:
        """Return the columns in the order of their groups, shape (in_features,), int64; None where that is theirs."""
        return self.get_buffer("g_idx").argsort(stable=True) if "g_idx" in self.tensors() else None

    def codes_and_zeros(self) -> tuple[Tensor, Tensor]:
        """Return the codes, shape (out, groups, group), uint8, and the zeros, shape (out, groups, 1), float32.

        Columns are in the order of `columns`.
        """
        codes = unpack(self.get_buffer("codes"), self.bits, self.in_features)
        columns = self.columns()
        codes = (codes if columns is None else codes[:, columns]).unflatten(1, (-1, self.group))
        scales = self.get_buffer("scales")
        if self.zero_kind == "packed":
            zeros = unpack(self.get_buffer("zeros"), self.bits, self.out_features).T.float()
        elif self.zero_kind == "float16":
            zeros = self.get_buffer("zeros").float()
        else:
            zeros = torch.full(scales.shape, float(self.fixed_zero or 0), device=scales.device)
        return codes, zeros[:, :, None]

    def dequantize(self) -> Tensor:
        """Return the weight, shape (out_features, in_features), float32."""
        codes, zeros = self.codes_and_zeros()
        weight = ((codes.float() - zeros) * self.get_buffer("scales").float()[:, :, None]).flatten(1)
        columns = self.columns()
        return weight if columns is None else weight[:, columns.argsort()]

    def packed(self) -> Packed:
        """Return the operation `int2`."""
        buffers = self.tensors()
        tensors = {name: buffers.get(name) for name in ("codes", "scales", "zeros", "g_idx")}
        refusal = supported(self.bits, self.group, self.in_features)
        return Packed("int2", {**tensors, "group": self.group, "zero": self.fixed_zero}, refusal)

    def stored_bits(self) -> dict[str, int]:
        """Return the bits of codes, scales, zeros and group indices as stored, padding of the last words included."""
        names = {"payload": "codes", "scales": "scales", "zeros": "zeros", "indices": "g_idx"}
        buffers = self.tensors()
        return {
            purpose: buffers[name].numel() * buffers[name].element_size() * 8
            for purpose, name in names.items()
            if name in buffers
        }
