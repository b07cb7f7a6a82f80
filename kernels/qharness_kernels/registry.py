"""Which implementations an operation has, and which of them serves a call.

An operation is a folder of this package. Its `reference.py` is plain torch and runs anywhere; `triton.py` and `cuda.py`
are kernels for a GPU. A user's switch is `auto` (a kernel where one can serve, else the reference, with the reason),
`reference`, or `triton` (a kernel, or an error with the reason: never silently the reference).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, library

Name = Literal["reference", "triton", "cuda"]
SWITCHES = ("auto", "reference", "triton")
KERNELS: tuple[Name, ...] = ("cuda", "triton")
"""Implementations that need a GPU, the preferred first."""
CUDA_CAPABILITY = 9
"""Least major compute capability of the CUDA kernels."""
NAMESPACE = "qharness"


class KernelUnavailable(ValueError):
    """A kernel was asked for by name and cannot serve the call; the message says why."""


@dataclass(frozen=True)
class Implementation:
    """One implementation of an operation.

    Attributes:
        op: Name of the operation, a folder of this package.
        name: `reference`, `triton` or `cuda`.
        module: Where its functions are.
    """

    op: str
    name: Name
    module: str

    def load(self) -> ModuleType:
        """Import and return the module."""
        return import_module(self.module)


class Choice(NamedTuple):
    """What serves a call.

    Attributes:
        implementation: The implementation.
        reason: Why what would have been preferred does not serve, kernels of another kind among it; empty if it does.
    """

    implementation: Implementation
    reason: str = ""


@cache
def implementations(op: str) -> tuple[Implementation, ...]:
    """Return the implementations of an operation: kernels first, the reference last.

    Raises:
        KernelUnavailable: There is no such operation.
    """
    package = f"{__package__}.{op}"
    if not op.isidentifier() or find_spec(package) is None:
        raise KernelUnavailable(f"There is no operation '{op}'.")
    names: tuple[Name, ...] = (*KERNELS, "reference")
    return tuple(
        Implementation(op, name, f"{package}.{name}") for name in names if find_spec(f"{package}.{name}") is not None
    )


def is_interpreted() -> bool:
    """Return whether Triton's interpreter runs the kernels, on any device (`TRITON_INTERPRET=1`)."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def obstacle(device: torch.device | str, name: Name = "triton") -> str:
    """Return why no kernel can run with tensors on a device, as a clause; empty if kernels can run.

    Args:
        device: Where the tensors are.
        name: `triton` or `cuda`.
    """
    if name == "triton" and find_spec("triton") is None:
        return "Triton is not installed"
    if is_interpreted():
        return "" if name == "triton" else "Triton's interpreter runs no CUDA kernels"
    kind = torch.device(device).type
    if kind != "cuda":
        return f"kernels need a GPU and the tensors are on the device '{kind}'"
    return _cuda_obstacle(torch.device(device)) if name == "cuda" else ""


@cache
def _cuda_obstacle(device: torch.device) -> str:
    if not torch.cuda.is_available() or torch.version.cuda is None:
        return "torch has no NVIDIA GPU"
    major, minor = torch.cuda.get_device_capability(device)
    if major < CUDA_CAPABILITY:
        return f"CUDA kernels need compute capability {CUDA_CAPABILITY}.0 and this GPU has {major}.{minor}"
    from qharness_kernels.nvrtc import CudaError, load_nvrtc

    try:
        load_nvrtc()
    except CudaError as error:
        return str(error).rstrip(".")
    return ""


def choose(op: str, device: torch.device | str, switch: str = "auto", refusal: str = "") -> Choice:
    """Choose the implementation that serves an operation: the first that can, CUDA before Triton.

    Args:
        op: Name of the operation.
        device: Where the tensors are.
        switch: `auto`, `reference` or `triton`.
        refusal: Why the kernels of the operation do not serve these sizes and types, as a clause; empty if they do.

    Raises:
        KernelUnavailable: The switch is none of the three; or it asks for a kernel and none can serve.
    """
    if switch not in SWITCHES:
        raise KernelUnavailable(f"There is no choice of kernels '{switch}'; there are {', '.join(SWITCHES)}.")
    *kernels, reference = implementations(op)
    if switch == "reference":
        return Choice(reference)
    obstacles: list[str] = []
    for kernel in [] if refusal else kernels:
        found = obstacle(device, kernel.name)
        if not found:
            return Choice(kernel, "; ".join(obstacles))
        if found not in obstacles:
            obstacles.append(found)
    reason = refusal or "; ".join(obstacles) or obstacle(device) or f"the operation '{op}' has no kernel"
    if switch == "triton":
        raise KernelUnavailable(f"No kernel can serve '{op}': {reason}; use --kernels auto or reference.")
    return Choice(reference, "" if torch.device(device).type == "cpu" else reason)


def operator(name: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function the torch operator `qharness::NAME`, for `torch.compile` and CUDA graphs.

    Args:
        name: Name of the operator, for example `int2_matmul`.
        fake: Returns empty outputs of the right shape, type and device for the same arguments.

    Returns:
        A decorator. The function takes tensors (or None) and plain numbers, annotated, changes none of them, and
        returns new tensors.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        made = library.custom_op(f"{NAMESPACE}::{name}", function, mutates_args=())
        made.register_fake(fake)
        return made

    return register


def like_input(x: Tensor, *_: object) -> Tensor:
    """Return an empty tensor like x: the fake of operators that keep shape and type."""
    return torch.empty_like(x, memory_format=torch.contiguous_format)
