"""What can be served by a kernel, and what served it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch

REFERENCE = "reference"


class Use(NamedTuple):
    """What serves one module or map.

    Attributes:
        op: Operation of `qharness_kernels`, or empty where it has none.
        kernel: `reference`, `triton` or `cuda`.
        reason: Why it is the reference although kernels were welcome; empty otherwise.
    """

    op: str
    kernel: str
    reason: str = ""


@dataclass(frozen=True)
class Packed:
    """A weight as an operation of `qharness_kernels` takes it.

    Attributes:
        op: The operation, a folder with `layout.prepare` and a kernel's `matmul(x, prepared)`.
        arguments: Arguments of `prepare`, by name.
        refusal: Why its kernels do not take this weight, as a clause; empty if they do.
    """

    op: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""


@runtime_checkable
class Servable(Protocol):
    """A map or a layer that a kernel may serve."""

    def use_kernels(self, switch: str, device: torch.device, dtype: torch.dtype) -> Use:
        """Choose the kernel for inputs of a type on a device, and use it from now on.

        Args:
            switch: `auto`, `reference` or `triton`.
            device: Where the inputs will be.
            dtype: Their type.

        Raises:
            KernelUnavailable: `triton` was asked for and no kernel can serve.
        """
