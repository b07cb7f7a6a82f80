"""A linear layer of trellis-coded tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

from torch import Tensor

from qharness.quantization.linear import QuantizedLinear, check_shapes
from qharness.serving.base import Packed
from qharness_kernels.trellis import Trellis, unpack_states
from qharness_kernels.trellis.layout import supported
from qharness_kernels.trellis.reference import TileOrder, dequantize
from qharness_qtip.tiles import TILE

BUFFERS = ("trellis", "scale", "lut", "bias")


class TrellisLinear(QuantizedLinear):
    """y = x W^T + b with W[i, j] = scale * value(state of (i, j)).

    Buffers: `trellis` int16 (out_features / 16, in_features / 16, 16 * bits), the states' bits of each tile in a ring,
    most significant first; `scale` float32 (1,); `lut` float16 (512, 2), with the code `hyb` only; `bias`.
    The randomized Hadamards around the layer are the artifact's runtime transforms.

    Args:
        payload: Shape (out_features / 16, in_features / 16, 16 * bits), int16.
        scale: Shape (1,).
        trellis: The trellis.
        code: Name of the code.
        lut: Its table, or None.
        order: Order of a tile's weights.
        bias: Shape (out_features,), or None.
    """

    def __init__(
        self,
        payload: Tensor,
        scale: Tensor,
        trellis: Trellis,
        code: str,
        lut: Tensor | None,
        order: TileOrder,
        bias: Tensor | None,
    ) -> None:
        super().__init__()
        self.shape, self.code, self.order = trellis, code, order
        self.out_features, self.in_features = payload.shape[0] * TILE.rows, payload.shape[1] * TILE.columns
        self.register_buffer("trellis", payload)
        self.register_buffer("scale", scale.float())
        if lut is not None:
            self.register_buffer("lut", lut.detach().half().clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> Self:
        """Rebuild the layer.

        Raises:
            CorruptArtifact: A tensor is missing or has another shape than the numbers in `spec` ask for.
        """
        trellis = Trellis(spec["state_bits"], spec["bits"], spec["vector"])
        rows, columns = spec["out_features"], spec["in_features"]
        wanted = {
            "trellis": (rows // TILE.rows, columns // TILE.columns, TILE.columns * trellis.bits),
            "scale": (1,),
        }
        if spec["lut_bits"]:
            wanted["lut"] = (1 << spec["lut_bits"], trellis.vector)
        check_shapes(tensors, wanted, "a trellis layer")
        payload, scale, lut, bias = (tensors.get(name) for name in BUFFERS)
        return cls(cast(Tensor, payload), cast(Tensor, scale), trellis, spec["code"], lut, spec["order"], bias)

    def spec(self) -> dict[str, Any]:
        """Return the sizes, the trellis, the code and the order of a tile's weights."""
        lut = self.tensors().get("lut")
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "state_bits": self.shape.state_bits,
            "bits": self.shape.bits,
            "vector": self.shape.vector,
            "code": self.code,
            "lut_bits": 0 if lut is None else len(lut).bit_length() - 1,
            "order": self.order,
        }

    def states(self) -> Tensor:
        """Return the states of every tile, shape (out_features / 16, in_features / 16, 256 / V), int32."""
        payload = self.get_buffer("trellis")
        return unpack_states(payload.flatten(0, 1), self.shape).unflatten(0, payload.shape[:2])

    def dequantize(self) -> Tensor:
        """Return the weight, shape (out_features, in_features), float32."""
        return dequantize(**self._arguments())

    def packed(self) -> Packed:
        """Return the operation `trellis`."""
        return Packed("trellis", self._arguments(), supported(self.shape, self.code, self.tensors().get("lut")))

    def _arguments(self) -> dict[str, Any]:
        return {
            "payload": self.get_buffer("trellis"),
            "scale": self.get_buffer("scale"),
            "lut": self.tensors().get("lut"),
            "trellis": self.shape,
            "code": self.code,
            "order": self.order,
        }

    def stored_bits(self) -> dict[str, int]:
        """Return the bits of the payload, the scale and the table."""
        names = {"payload": "trellis", "scales": "scale", "codebooks": "lut"}
        buffers = self.tensors()
        return {
            purpose: buffers[name].numel() * buffers[name].element_size() * 8
            for purpose, name in names.items()
            if name in buffers
        }
