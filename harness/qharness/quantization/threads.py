"""How many threads quantize a model on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 100_000_000


@contextmanager
def steady_threads(parameters: int, device: str) -> Iterator[None]:
    """Use one thread for a small model on a CPU inside the `with`.

    Its operations are too short for more: two threads waiting for each other on a busy machine took forty times as
    long as one. And the last bits of a sum depend on the number of threads, so this keeps digests equal under
    executors that share the cores differently.

    Args:
        parameters: Number of parameters of the model.
        device: Device of the work.
    """
    before = torch.get_num_threads()
    if parameters <= SMALL and torch.device(device).type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
