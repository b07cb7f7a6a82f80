"""A linear layer that was rounded in one stack with others of the same input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from qharness.quantization.incoherence import Hadamards
from qharness.quantization.linear import check_shapes
from qharness_quip_sharp.linear import LatticeLinear

STACKED = ("codes", "residual", "scales", "signs", "fuse_scales")


@dataclass(frozen=True)
class Member:
    """Where a linear is in its stack.

    Attributes:
        index: Its number.
        start: Its first row.
        rows: Its rows.
    """

    index: int
    start: int
    rows: int


class FusedLinear(LatticeLinear):
    """y = x W^T + b with W = f_i (A^T diag(scales) P) on the rows of member i, behind the input's transform `rht`.

    P are the points of the whole stack, A = H diag(signs) one Hadamard across its rows, and f the root mean square by
    which each member was divided before it was stacked. The stack's tensors are stored by one member and shared by the
    others: those of `LatticeLinear`, `signs` int8 (float16 once trained) of shape (stack rows,), and `fuse_scales`
    float32 of shape (members,).

    Args:
        stack: The stack's tensors.
        member: Which rows are this linear's.
        bits: Bits per weight.
        in_features: Size of the input.
        hadamards: The map across the stack's rows.
        owner: Full name of the module that stores the stack's tensors, empty for that itself.
        bias: Shape (out_features,), or None.
    """

    def __init__(
        self,
        stack: Mapping[str, Tensor],
        member: Member,
        bits: int,
        in_features: int,
        hadamards: Hadamards,
        owner: str,
        bias: Tensor | None,
    ) -> None:
        own = {} if bias is None else {"bias": bias.detach().clone()}
        self._fill({**stack, **own}, bits, in_features)
        self.member, self.hadamards, self.stack_rows = member, hadamards, self.out_features
        self.out_features = member.rows
        for name in ("signs", "fuse_scales"):
            self.register_buffer(name, stack[name])
        self.shared = dict.fromkeys(stack, owner) if owner else {}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> Self:
        """Rebuild the layer.

        Raises:
            CorruptArtifact: A tensor is missing or has another shape or type than the numbers in `spec` ask for.
        """
        fused = spec["fused"]
        cls.check(tensors, {**spec, "out_features": fused["stack_rows"]})
        check_shapes(tensors, {"signs": (fused["stack_rows"],), "fuse_scales": (fused["members"],)}, "a fused layer")
        member = Member(fused["member"], fused["start"], spec["out_features"])
        stack = {name: tensors[name] for name in STACKED if name in tensors}
        owner = next(iter(spec.get("shared", {}).values()), "")
        hadamards = Hadamards(fused["block"], fused["hadamard"])
        return cls(stack, member, spec["bits"], spec["in_features"], hadamards, owner, tensors.get("bias"))

    def spec(self) -> dict[str, Any]:
        """Return the sizes, the bits, the number of scales, the place in the stack and who stores it."""
        fused = {
            "member": self.member.index,
            "start": self.member.start,
            "stack_rows": self.stack_rows,
            "members": len(self.get_buffer("fuse_scales")),
            "block": self.hadamards.block,
            "hadamard": self.hadamards.family,
        }
        return super().spec() | {"fused": fused} | ({"shared": dict(self.shared)} if self.shared else {})

    def stack(self) -> Tensor:
        """Return the weights of the whole stack behind the input's transform, members not yet scaled, float32."""
        points = super().dequantize()
        return self.hadamards.of(self.get_buffer("signs")).transpose(points.T).T

    def dequantize(self) -> Tensor:
        """Return the weight behind the input's transform, shape (out_features, in_features), float32."""
        own = self.stack()[self.member.start : self.member.start + self.member.rows]
        return own * self.get_buffer("fuse_scales")[self.member.index]

    def packed(self) -> None:
        """Return None: no kernel undoes the Hadamard across a stack."""
        return None

    def stored_bits(self) -> dict[str, int]:
        """Return the bits of code words, scales and signs; nothing where another module stores them."""
        buffers = self.tensors()
        signs = {"signs": buffers["signs"].nbytes * 8} if "signs" in buffers else {}
        found = super().stored_bits() | signs
        found["scales"] += buffers["fuse_scales"].nbytes * 8 if "fuse_scales" in buffers else 0
        return found


def stack_weights(weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return weights of shapes (m_i, n) on top of each other, each over its root mean square, and those, float32."""
    sizes = torch.stack([weight.square().mean().sqrt().clamp_min(1e-12) for weight in weights])
    return torch.cat([weight / size for weight, size in zip(weights, sizes, strict=True)]), sizes
