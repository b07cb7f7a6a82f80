"""A linear layer whose rows are GGUF blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from torch import Tensor

from qharness.errors import CorruptArtifact
from qharness.quantization.linear import QuantizedLinear
from qharness.serving.base import Packed
from qharness_iq2_xxs import decoding
from qharness_kernels.iq2_xxs.layout import supported
from qharness_kernels.iq2_xxs.reference import decode_blocks


class StoredType(NamedTuple):
    """Weights and bytes of a block, and what decodes it."""

    weights: int
    bytes: int
    decode: decoding.Decoder


STORED_TYPES: Mapping[str, StoredType] = {
    "IQ2_XXS": StoredType(256, 66, decode_blocks),
    "Q2_K": StoredType(256, 84, decoding.decode_q2_k),
    "Q4_K": StoredType(256, 144, decoding.decode_q4_k),
    "Q5_K": StoredType(256, 176, decoding.decode_q5_k),
    "IQ4_NL": StoredType(32, 18, decoding.decode_iq4_nl),
}


class BlockLinear(QuantizedLinear):
    """y = x W^T + b with W in blocks of a GGUF type.

    Buffers: `blocks` uint8 (out_features, bytes of a row), as a GGUF file holds them; `bias`.

    Args:
        blocks: The blocks.
        kind: Name of the type.
        bias: Shape (out_features,), or None.
    """

    def __init__(self, blocks: Tensor, kind: str, bias: Tensor | None) -> None:
        super().__init__()
        self.kind, self._type = kind, STORED_TYPES[kind]
        self.out_features = blocks.shape[0]
        self.in_features = blocks.shape[1] // self._type.bytes * self._type.weights
        self.register_buffer("blocks", blocks)
        self.register_buffer("bias", bias)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> Self:
        """Rebuild the layer.

        Raises:
            CorruptArtifact: The blocks are missing, of an unknown type, or not of the size that `spec` names.
        """
        kind = spec["kind"]
        if kind not in STORED_TYPES:
            raise CorruptArtifact(
                f"A layer is stored as '{kind}', which this version does not know; update the plugin."
            )
        stored = STORED_TYPES[kind]
        wanted = (spec["out_features"], spec["in_features"] // stored.weights * stored.bytes)
        found = tuple(tensors["blocks"].shape) if "blocks" in tensors else None
        if found != wanted:
            raise CorruptArtifact(f"The blocks of a {kind} layer should have shape {wanted}, found {found}.")
        return cls(tensors["blocks"], kind, tensors.get("bias"))

    def spec(self) -> dict[str, Any]:
        """Return the type and the sizes."""
        return {"kind": self.kind, "in_features": self.in_features, "out_features": self.out_features}

    def dequantize(self) -> Tensor:
        """Return the weight, shape (out_features, in_features), float32."""
        blocks = self.get_buffer("blocks").view(-1, self._type.bytes)
        return self._type.decode(blocks).view(self.out_features, self.in_features)

    def packed(self) -> Packed:
        """Return the operation `iq2_xxs`, which has kernels for that type only."""
        return Packed("iq2_xxs", {"blocks": self.get_buffer("blocks")}, supported(self.kind))

    def stored_bits(self) -> dict[str, int]:
        """Return the bits of the blocks: scales are inside."""
        return {"payload": self.get_buffer("blocks").numel() * 8}
