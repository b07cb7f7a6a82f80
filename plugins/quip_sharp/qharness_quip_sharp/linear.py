"""A linear layer of lattice code words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from qharness.errors import CorruptArtifact
from qharness.quantization.linear import QuantizedLinear
from qharness.serving.base import Packed
from qharness_kernels.e8p.layout import supported
from qharness_quip_sharp.codes import LatticeCode

RESIDUAL_TYPE = {3: torch.uint8, 4: torch.int16}


def stored(indices: Tensor, scales: Tensor, bits: int) -> dict[str, Tensor]:
    """Return code words, as `LatticeCode` encodes them, and scales as a layer stores them."""
    found = {"codes": indices[..., 0].contiguous(), "scales": scales.half()}
    if bits > 2:
        found["residual"] = indices[..., 1].to(RESIDUAL_TYPE[bits]).contiguous()
    return found


class LatticeLinear(QuantizedLinear):
    """y = x W^T + b, W[i, 8 j : 8 j + 8] = scales[i] * point(codes[i, j]), between the transforms `rht`.

    Buffers: `codes` int16 (out_features, ceil(in_features / 8)), E8P code words; `residual` of that shape, uint8 (E8,
    3 bits) or int16 (E8P, 4 bits); `scales` float16 (out_features,) or (1,); `bias`.

    Args:
        indices: Code words, shape (out_features, words, 1 or 2), as `LatticeCode` encodes them.
        scales: Shape (out_features,) or (1,).
        bits: Bits per weight.
        in_features: Size of the input; the last word is cut to it.
        bias: Shape (out_features,), or None.
    """

    def __init__(self, indices: Tensor, scales: Tensor, bits: int, in_features: int, bias: Tensor | None) -> None:
        own = {} if bias is None else {"bias": bias.detach().clone()}
        self._fill(stored(indices, scales, bits) | own, bits, in_features)

    def _fill(self, tensors: Mapping[str, Tensor], bits: int, in_features: int) -> None:
        super().__init__()
        self.bits, self.in_features, self.out_features = bits, in_features, len(tensors["codes"])
        for name in ("codes", "residual", "scales", "bias"):
            if name in tensors:
                self.register_buffer(name, tensors[name])
        self.bias = tensors.get("bias")

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> Self:
        """Rebuild the layer, as a `FusedLinear` where `spec` says that it is one of a stack.

        Raises:
            CorruptArtifact: A tensor is missing or has another shape or type than the numbers in `spec` ask for.
        """
        if "fused" in spec:
            from qharness_quip_sharp.fused import FusedLinear

            return FusedLinear.from_tensors(tensors, spec)  # type: ignore[return-value]
        cls.check(tensors, spec)
        self = cls.__new__(cls)
        self._fill(tensors, spec["bits"], spec["in_features"])
        return self

    @staticmethod
    def check(tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> None:
        """Check code words and scales.

        Raises:
            CorruptArtifact: One is missing or has another shape or type than the numbers in `spec` ask for.
        """
        rows, columns, bits = spec["out_features"], spec["in_features"], spec["bits"]
        words = (rows, -(-columns // 8))
        wanted = {"codes": (words, torch.int16), "scales": ((spec["scales"],), torch.float16)}
        if bits > 2:
            wanted["residual"] = (words, RESIDUAL_TYPE[bits])
        for name, expected in wanted.items():
            found = (tuple(tensors[name].shape), tensors[name].dtype) if name in tensors else None
            if found != expected:
                raise CorruptArtifact(f"Tensor '{name}' of a lattice layer should be {expected}, found {found}.")

    def spec(self) -> dict[str, Any]:
        """Return the sizes, the bits, and the number of scales."""
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bits": self.bits,
            "scales": len(self.get_buffer("scales")),
        }

    def indices(self) -> Tensor:
        """Return the code words, shape (out_features, words, 1 or 2), int16."""
        parts = [self.get_buffer(name) for name in ("codes", "residual")[: 1 if self.bits == 2 else 2]]
        return torch.stack([part.to(torch.int16) for part in parts], -1)

    def dequantize(self) -> Tensor:
        """Return the weight between the transforms, shape (out_features, in_features), float32."""
        points = LatticeCode(self.bits).decode(self.indices()).flatten(1)
        return points[:, : self.in_features] * self.get_buffer("scales").float()[:, None]

    def packed(self) -> Packed:
        """Return the operation `e8p`."""
        tensors = {name: self.get_buffer(name) for name in ("codes", "scales")}
        return Packed("e8p", {**tensors, "in_features": self.in_features}, supported(self.bits, self.in_features))

    def stored_bits(self) -> dict[str, int]:
        """Return the bits of the code words and scales."""
        purposes = {"payload": ("codes", "residual"), "scales": ("scales",)}
        buffers = self.tensors()
        return {
            purpose: sum(buffers[name].nbytes * 8 for name in names if name in buffers)
            for purpose, names in purposes.items()
        }
