"""What the benchmarks measure: operations with the arguments of their input factories."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qharness_kernels.registry import choose

SHARED_BYTES = 1 << 16
"""Tensors of a packed matrix up to this size are shared by its copies, as a code's tables are by the layers."""


class Variant(NamedTuple):
    """A 2-bit code.

    Attributes:
        op: Operation.
        options: Further arguments of its `inputs.make`.
        has_hadamards: Whether models in this code have Hadamard transforms around every linear.
    """

    op: str
    options: Mapping[str, Any] = MappingProxyType({})
    has_hadamards: bool = False


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "int2": Variant("int2"),
        "iq2_xxs": Variant("iq2_xxs"),
        "e8p": Variant("e8p", has_hadamards=True),
        "hyb": Variant("trellis", {"code": "hyb"}, has_hadamards=True),
        "3inst": Variant("trellis", {"code": "3inst"}, has_hadamards=True),
        "1mad": Variant("trellis", {"code": "1mad"}, has_hadamards=True),
        "mul1": Variant("trellis", {"code": "mul1"}, has_hadamards=True),
        "2x8": Variant("codebook", {"books": 2, "bits": 8}),
        "1x16": Variant("codebook", {"books": 1, "bits": 16}),
    }
)
"""By name; int2 has groups of 128, trellises have 16 bits of state, additive codes groups of 8."""


class Weight(NamedTuple):
    """A random matrix that a kernel multiplies by.

    Attributes:
        matmul: x, prepared -> x W^T.
        prepared: The matrix.
        kernel: `cuda` or `triton`.
    """

    matmul: Any
    prepared: Any
    kernel: str

    def __call__(self, x: Tensor) -> Tensor:
        """Return x W^T."""
        found: Tensor = self.matmul(x, self.prepared)
        return found

    def copy(self) -> Weight:
        """Return the same matrix elsewhere in memory."""
        return self._replace(
            prepared=dataclasses.replace(
                self.prepared, **{name: _copied(value) for name, value in vars(self.prepared).items()}
            )
        )

    @property
    def bytes(self) -> int:
        """Bytes of the matrix."""
        return sum(value.nbytes for value in vars(self.prepared).values() if isinstance(value, Tensor))


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) and value.nbytes > SHARED_BYTES else value


def random_weight(
    variant: Variant, out_features: int, in_features: int, dtype: torch.dtype, device: torch.device
) -> Weight:
    """Return a random matrix, repacked for the kernel that serves the device.

    Raises:
        KernelUnavailable: None does.
    """
    implementation = choose(variant.op, device, "triton").implementation
    factory = import_module(f"qharness_kernels.{variant.op}.inputs")
    options = {"device": device, "dtype": dtype, "seed": 0, **variant.options}
    arguments = factory.make(out_features, in_features, 1, **options)._asdict()
    del arguments["x"]
    layout = import_module(f"qharness_kernels.{variant.op}.layout")
    weight = Weight(implementation.load().matmul, layout.prepare(**arguments), implementation.name)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return weight
