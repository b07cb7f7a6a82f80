"""Triton kernels that start while the kernel in front of them still runs."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from qharness_kernels.registry import is_interpreted

EARLY_CAPABILITY = 9


@cache
def early(device: torch.device) -> bool:
    """Return whether kernels on a device may start early (programmatic dependent launch).

    A kernel that does must call `gdc_wait` before it reads what the kernel in front writes, and before it writes.
    """
    if is_interpreted() or device.type != "cuda" or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability(device)[0] >= EARLY_CAPABILITY


def early_options(device: torch.device) -> dict[str, Any]:
    """Return the options of a launch that starts early where that can be; Triton's interpreter has no such option."""
    return {"launch_pdl": True} if early(device) else {}
