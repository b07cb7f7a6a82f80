"""Copies between host and device that do not stop the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def upload(values: Sequence[Any], device: torch.device) -> Tensor:
    """Return a tensor of the values on the device."""
    return send(torch.tensor(values), device)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a host tensor on the device, copied from pinned memory where that is a GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def download(tensor: Tensor) -> Callable[[], Tensor]:
    """Start copying a tensor to the host and return a function that waits for it and returns it.

    The wait is for the work that was queued before this call, not for what was queued after it.
    """
    if tensor.device.type != "cuda":
        return lambda: tensor
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()
    done.record()

    def wait() -> Tensor:
        done.synchronize()
        return host

    return wait
