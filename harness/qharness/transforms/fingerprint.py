"""Fingerprints of linear maps: their response to a fixed vector, cheap to compute and stored in the contract."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

NUMBERS = 32
DIGITS = 9
TOLERANCE = 1e-5


def _fixed_vector(size: int, label: str) -> NDArray[np.float64]:
    # From a hash and not from a random generator: equal on every platform and version.
    raw = hashlib.shake_256(f"qharness transform {label} {size}".encode()).digest(8 * size)
    return np.frombuffer(raw, dtype="<u8").astype(np.float64) / 2.0**63 - 1.0


def fingerprint(apply: Callable[[Tensor], Tensor], size: int) -> tuple[float, ...]:
    """Return a few dozen numbers that change when any part of the map changes.

    With z and w fixed vectors in [-1, 1), y = A z is split into at most 32 runs of consecutive coordinates; each
    number is the inner product of one run of y with that of w, over the square root of its length. Every coordinate
    of y takes part, so that one wrong block or sign shows.

    Args:
        apply: The map, on tensors of shape (..., size); it gets float64.
        size: Size of its dimension.

    Returns:
        min(32, size) numbers, rounded to nine decimals.
    """
    import torch

    z = torch.from_numpy(_fixed_vector(size, "input").copy())
    with torch.no_grad():
        y = apply(z[None, :])[0].to(device="cpu", dtype=torch.float64).numpy()
    products = y * _fixed_vector(size, "probe")
    runs = np.array_split(products, min(NUMBERS, size))
    return tuple(round(float(run.sum() / np.sqrt(len(run))), DIGITS) for run in runs)


def agrees(found: Sequence[float], expected: Sequence[float]) -> bool:
    """Return whether two fingerprints are equal up to the rounding errors of float32."""
    return len(found) == len(expected) > 0 and bool(np.allclose(found, expected, rtol=0, atol=TOLERANCE))
