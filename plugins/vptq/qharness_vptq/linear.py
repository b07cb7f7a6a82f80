"""A linear layer of vector indices and codebooks, with the tensors of the public format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from qharness.errors import CorruptArtifact
from qharness.quantization.linear import QuantizedLinear
from qharness.quantization.packing import pack, unpack, words_for
from qharness_kernels.codebook import VectorTensors, decode_vptq
from qharness_vptq.layout import Columns, Layout

PURPOSES = {
    "indices": "payload",
    "outlier_indices": "payload",
    "centroids": "codebooks",
    "res_centroids": "codebooks",
    "outlier_centroids": "codebooks",
    "weight_scale": "scales",
    "weight_bias": "scales",
    "perm": "permutation",
}


class VptqLinear(QuantizedLinear):
    """y = x W^T + b with W as `qharness_kernels.codebook.decode_vptq` decodes it.

    Buffers, named and shaped as in public checkpoints: `indices` int32 (groups, T, words), the stream of
    (residual << b | main) along the columns of a group; `centroids` float16 (groups, k * v); `res_centroids`;
    `outlier_indices` int16 (1, T0, outliers), unsigned; `outlier_centroids` float16 (1, k0 * v0); `perm` int16
    (in_features), unsigned; `weight_scale`, `weight_bias` float16 (in_features); `bias`.

    Args:
        tensors: The buffers.
        layout: Sizes of the codebooks.
        size: (out_features, in_features).
        shared: Module that stores each tensor which this one does not, by tensor name.

    Raises:
        CorruptArtifact: A tensor is missing, not known, or of another shape.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], layout: Layout, size: tuple[int, int], shared: Mapping[str, str]
    ) -> None:
        super().__init__()
        self.layout, (self.out_features, self.in_features), self.shared = layout, size, dict(shared)
        shapes = self._shapes()
        for name in [*shapes, *PURPOSES]:
            wanted, found = shapes.get(name), tuple(tensors[name].shape) if name in tensors else None
            if wanted != found and not (wanted is None and name in ("perm", "weight_scale", "weight_bias")):
                raise CorruptArtifact(f"Tensor '{name}' of a VPTQ layer should have shape {wanted}, found {found}.")
            if wanted is None and found is not None and found != (self.in_features,):
                raise CorruptArtifact(f"Tensor '{name}' of a VPTQ layer should have {self.in_features} values.")
        for name in PURPOSES:
            if name in tensors:
                self.register_buffer(name, tensors[name])
        bias = tensors.get("bias")
        self.register_buffer("bias", bias)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        layout = self.layout
        width = (self.in_features - layout.outliers) // layout.groups
        vectors = -(-self.out_features // layout.vector_len)
        shapes: dict[str, tuple[int, ...]] = {
            "indices": (layout.groups, vectors, words_for(width, layout.index_bits)),
            "centroids": (layout.groups, layout.centroids * layout.vector_len),
        }
        if layout.res_centroids:
            shapes["res_centroids"] = (layout.groups, layout.res_centroids * layout.vector_len)
        if layout.outliers:
            shapes["outlier_indices"] = (1, -(-self.out_features // layout.outlier_vector_len), layout.outliers)
            shapes["outlier_centroids"] = (1, layout.outlier_centroids * layout.outlier_vector_len)
        return shapes

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> Self:
        """Rebuild the layer."""
        missing = sorted(set(spec["tensors"]) - set(tensors))
        if missing:
            raise CorruptArtifact(f"A VPTQ layer lacks the tensors {missing}; make the artifact again.")
        size = (spec["out_features"], spec["in_features"])
        return cls(tensors, Layout(**spec["layout"]), size, spec.get("shared", {}))

    def spec(self) -> dict[str, Any]:
        """Return the sizes, the codebooks' layout, the names of the tensors, and who stores the shared ones."""
        spec: dict[str, Any] = {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "layout": vars(self.layout).copy(),
            "tensors": [name for name in PURPOSES if getattr(self, name, None) is not None],
        }
        return spec | ({"shared": self.shared} if self.shared else {})

    def unpacked(self) -> VectorTensors:
        """Return the indices and codebooks as the kernels take them."""
        layout = self.layout
        width = (self.in_features - layout.outliers) // layout.groups
        joint = unpack(self.get_buffer("indices"), layout.index_bits, width).long() & 0xFFFFFFFF
        main_bits = layout.centroids.bit_length() - 1
        buffers = dict(self.named_buffers())
        has_residual, has_outliers = layout.res_centroids > 0, layout.outliers > 0
        return VectorTensors(
            indices=joint & (layout.centroids - 1),
            centroids=buffers["centroids"].view(layout.groups, -1, layout.vector_len),
            res_indices=joint >> main_bits if has_residual else None,
            res_centroids=buffers["res_centroids"].view(layout.groups, -1, layout.vector_len) if has_residual else None,
            outlier_indices=_unsigned(buffers["outlier_indices"][0]) if has_outliers else None,
            outlier_centroids=buffers["outlier_centroids"].view(-1, layout.outlier_vector_len)
            if has_outliers
            else None,
            perm=_unsigned(buffers["perm"]) if "perm" in buffers else None,
            scale=buffers.get("weight_scale"),
            bias=buffers.get("weight_bias"),
        )

    def dequantize(self) -> Tensor:
        """Return the weight, shape (out_features, in_features), float32."""
        return decode_vptq(self.unpacked(), self.out_features)

    def stored_bits(self) -> dict[str, int]:
        """Return the bits of every tensor that this module stores; shared ones count where they are stored."""
        bits: dict[str, int] = {}
        for name, tensor in self.tensors().items():
            if name in PURPOSES:
                purpose = PURPOSES[name]
                bits[purpose] = bits.get(purpose, 0) + tensor.numel() * tensor.element_size() * 8
        return bits


def pack_indices(indices: Tensor, layout: Layout, columns: Columns) -> Tensor:
    """Return main and residual indices as the public format packs them, shape (groups, T, words), int32.

    Args:
        indices: As `VectorCode` encodes them, shape (T, columns, width).
        layout: Sizes of the codebooks.
        columns: Which column uses which.
    """
    own = columns.group_columns()
    joint = indices[:, own, 0].transpose(0, 1)
    if layout.res_centroids:
        joint = joint | indices[:, own, 1].transpose(0, 1) << (layout.centroids.bit_length() - 1)
    return pack(joint, layout.index_bits)


def as_int16(values: Tensor) -> Tensor:
    """Return integers 0 .. 65535 as the int16 of the same bits."""
    return torch.where(values >= 2**15, values - 2**16, values).to(torch.int16)


def _unsigned(values: Tensor) -> Tensor:
    return values.long() & 0xFFFF if values.dtype == torch.int16 else values.long()
