"""Time of a decode step in one CUDA graph."""

from __future__ import annotations

from statistics import median

import torch

from qharness_kernels.bench.decoder.model import Decoder

STEPS = 50


def time_decoding(decoder: Decoder, steps: int = STEPS) -> float:
    """Return the median time of a decode step, in seconds; every step takes the most likely token of the one before.

    Args:
        decoder: The decoder. The new token stands at the end of its context at every step.
        steps: Replays that are timed one by one.

    Raises:
        ArithmeticError: The logits are not finite.
    """
    device = decoder.embedding.device
    token = torch.zeros(1, dtype=torch.int64, device=device)
    position = torch.full((1,), decoder.shape.context - 1, dtype=torch.int64, device=device)

    def advance() -> torch.Tensor:
        logits = decoder.step(token, position)
        token.copy_(logits.argmax(1))
        return logits

    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        advance()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = advance()
    for _ in range(5):
        graph.replay()
    times = []
    for _ in range(steps):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    if not logits.isfinite().all():
        raise ArithmeticError("The decoder's logits are not finite.")
    return median(times)
