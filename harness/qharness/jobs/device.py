"""Resolution of `auto` devices and types."""

from __future__ import annotations

from qharness.errors import UsageError


def resolve_device(device: str, elsewhere: bool = False) -> str:
    """Return a device name; `auto` is the first GPU, else the CPU.

    Args:
        device: What was asked for.
        elsewhere: Whether the jobs may run on other machines, so that a GPU need not be here.

    Raises:
        UsageError: A GPU is asked for and there is none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not elsewhere and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: torch sees no GPU here; use --device cpu.")
    return device


def resolve_dtype(dtype: str, device: str) -> str:
    """Return a type name; `auto` is float32 on a CPU and bfloat16 on a GPU."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if device.startswith("cuda") else "float32"
