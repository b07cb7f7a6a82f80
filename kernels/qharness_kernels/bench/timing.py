"""Time of a kernel inside a CUDA graph, over enough copies of its inputs that no cache holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import torch

REPLAYS = 50
ROTATED_BYTES = 250 * 10**6
MOST_COPIES = 256
FEWEST_NODES = 20
COPY_BYTES = 1 << 30


def copies_for(bytes_of_one: int) -> int:
    """Return how many copies of inputs of that size exceed `ROTATED_BYTES`, at most `MOST_COPIES`."""
    return max(1, min(MOST_COPIES, -(-ROTATED_BYTES // max(bytes_of_one, 1))))


def graph_seconds(calls: Sequence[Callable[[], object]], replays: int = REPLAYS) -> float:
    """Return the median time of one call, in seconds, over replays of a CUDA graph that holds all calls in turn.

    Args:
        calls: The same operation on different copies of its inputs; repeated where they are few, so that the start of
            the graph does not count.
        replays: Replays that are timed one by one.
    """
    turns = [*calls] * -(-FEWEST_NODES // len(calls)) if len(calls) < FEWEST_NODES else [*calls]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in {id(call): call for call in turns}.values():
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [call() for call in turns]
    for _ in range(3):
        graph.replay()
    times = []
    for _ in range(replays):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    del kept, graph
    return median(times) / len(turns)


def copy_bandwidth() -> float:
    """Return the bytes per second, read and written, of a copy of 1 GiB on the current GPU."""
    source = torch.randint(0, 255, (COPY_BYTES,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / graph_seconds([lambda: target.copy_(source)])
