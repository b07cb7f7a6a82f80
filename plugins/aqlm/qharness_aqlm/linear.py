"""A linear layer of additive codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor

from qharness.quantization.linear import QuantizedLinear, check_shapes
from qharness.quantization.packing import pack, unpack, words_for
from qharness.serving.base import Packed
from qharness_aqlm.scheme import Scheme
from qharness_kernels.codebook import decode_additive
from qharness_kernels.codebook.layout import supported


class AdditiveLinear(QuantizedLinear):
    """y = x W^T + b with W[r, g] = scales[r] * sum_m codebooks[m, codes[r, g, m]].

    Buffers: `codes` int32 (out_features, words), a row's codes packed group by group, in a group book by book;
    `codebooks` float16 (M, 2^B, group); `scales` float16 (out_features,); `bias`.

    Args:
        codes: Shape (out_features, groups, M), 0 .. 2^B - 1.
        codebooks: Shape (M, 2^B, group).
        scales: Shape (out_features,).
        bias: Shape (out_features,), or None.
    """

    def __init__(self, codes: Tensor, codebooks: Tensor, scales: Tensor, bias: Tensor | None) -> None:
        bits = codebooks.shape[1].bit_length() - 1
        stored = {
            "codes": pack(codes.flatten(1), bits),
            "codebooks": codebooks.half().contiguous(),
            "scales": scales.half().contiguous(),
        }
        if bias is not None:
            stored["bias"] = bias.detach().clone()
        self._fill(stored, codes.shape[1] * codebooks.shape[2])

    def _fill(self, stored: Mapping[str, Tensor], in_features: int) -> None:
        super().__init__()
        books, count, group = stored["codebooks"].shape
        self.scheme = Scheme(books, count.bit_length() - 1, group)
        self.in_features, self.out_features = in_features, stored["codes"].shape[0]
        for name in ("codes", "codebooks", "scales", "bias"):
            if name in stored:
                self.register_buffer(name, stored[name])
        self.bias = stored.get("bias")

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> Self:
        """Rebuild the layer.

        Raises:
            CorruptArtifact: A tensor is missing or has another shape than the numbers in `spec` ask for.
        """
        scheme, rows = Scheme(spec["codebooks"], spec["bits"], spec["group"]), spec["out_features"]
        codes = spec["in_features"] // scheme.group * scheme.codebooks
        wanted = {
            "codes": (rows, words_for(codes, scheme.bits)),
            "codebooks": (scheme.codebooks, 2**scheme.bits, scheme.group),
            "scales": (rows,),
        }
        check_shapes(tensors, wanted, "an AQLM layer")
        self = cls.__new__(cls)
        self._fill(tensors, spec["in_features"])
        return self

    def spec(self) -> dict[str, Any]:
        """Return the sizes and the scheme."""
        return {"in_features": self.in_features, "out_features": self.out_features, **self.scheme._asdict()}

    def unpacked(self) -> Tensor:
        """Return the codes, shape (out_features, groups, M), uint8 or int32."""
        count = self.in_features // self.scheme.group * self.scheme.codebooks
        flat = unpack(self.get_buffer("codes"), self.scheme.bits, count)
        return flat.unflatten(1, (-1, self.scheme.codebooks))

    def dequantize(self) -> Tensor:
        """Return the weight, shape (out_features, in_features), float32, differentiable in codebooks and scales."""
        return decode_additive(self.unpacked(), self.get_buffer("codebooks"), self.get_buffer("scales"))

    def packed(self) -> Packed:
        """Return the operation `codebook`."""
        books = self.get_buffer("codebooks")
        refusal = supported(books)
        if refusal:
            return Packed("codebook", refusal=refusal)
        arguments = {"codes": self.unpacked(), "codebooks": books, "scales": self.get_buffer("scales")}
        return Packed("codebook", arguments)

    def stored_bits(self) -> dict[str, int]:
        """Return the bits of codes, codebooks and scales as stored, padding of the last words included."""
        names = {"payload": "codes", "codebooks": "codebooks", "scales": "scales"}
        buffers = self.tensors()
        return {kind: buffers[name].numel() * buffers[name].element_size() * 8 for kind, name in names.items()}
