"""Greedy decoding steps as CUDA graphs: one launch a token, and the host looks at the tokens every few steps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qharness.engines.decoding import Decoder, step_mask
from qharness.engines.forward import Forward
from qharness.engines.slots import Slots

log = logging.getLogger(__name__)

STRIDE = 8
"""Tokens between two looks at what was written; a row that ended in between goes on for nothing."""


@dataclass(frozen=True)
class Captured:
    """A step's graph with the tensors that it reads and writes.

    Attributes:
        slots: Keys and values.
        graph: The graph.
        tokens: Token fed to each row, replaced by the one chosen, shape (rows, 1).
        places: Slot of that token, shape (rows,).
    """

    slots: Slots
    graph: torch.cuda.CUDAGraph
    tokens: Tensor
    places: Tensor


class GraphSteps:
    """Captures the step of a decoder once and replays it.

    The step has fixed shapes: all rows, and attention over all slots with a mask. Storage and graph are kept for the
    next decoder of the same shape.

    Args:
        forward: Model.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._captured: Captured | None = None
        self._impossible = False

    def storage(self, rows: int, capacity: int) -> Slots:
        """Return slots for a decoder: those of the captured graph where the shape is the same."""
        known = self._captured
        if known is not None and (known.slots.rows, known.slots.capacity) == (rows, capacity):
            return known.slots
        self._captured = None
        return Slots(rows, capacity)

    def are_ready(self, decoder: Decoder) -> bool:
        """Return whether the decoder's step is captured; it is tried once, and a model that refuses steps eagerly."""
        if self._captured is not None and self._captured.slots is decoder.slots:
            return True
        if not self._impossible:
            self._captured = None
            try:
                self._captured = self._capture(decoder.slots)
            except RuntimeError as error:
                self._impossible = True
                log.warning("Decoding without CUDA graphs: %s", str(error).splitlines()[0])
        return not self._impossible

    def run(self, decoder: Decoder, tokens: Sequence[int]) -> list[list[int]]:
        """Advance all rows greedily by `STRIDE` tokens; what a row writes behind its last slot means nothing.

        Args:
            decoder: Rows in flight, captured; their lengths grow.
            tokens: Last token of each row.

        Returns:
            Chosen tokens, step by step, one for each row.
        """
        captured = self._captured
        assert captured is not None
        last = decoder.slots.capacity - 1
        captured.tokens.copy_(self._forward.ids(tokens)[:, None])
        captured.places.copy_(self._forward.ids([min(length, last) for length in decoder.lengths]))
        written = torch.empty(STRIDE, len(tokens), dtype=torch.int64, device=captured.tokens.device)
        for step in range(STRIDE):
            captured.graph.replay()
            written[step].copy_(captured.tokens[:, 0])
        self._forward.forwarded.decode += STRIDE * len(tokens)
        decoder.lengths = [min(length + STRIDE, last + 1) for length in decoder.lengths]
        chosen: list[list[int]] = written.tolist()
        return chosen

    def _capture(self, slots: Slots) -> Captured:
        device, fed = self._forward.device, self._forward.forwarded.decode
        tokens = torch.zeros(slots.rows, 1, dtype=torch.int64, device=device)
        # While the step is tried out it writes to the last slot, which no row ever reads.
        places = torch.full((slots.rows,), slots.capacity - 1, dtype=torch.int64, device=device)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            self._step(slots, tokens, places)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(slots, tokens, places)
        self._forward.forwarded.decode = fed
        return Captured(slots, graph, tokens, places)

    def _step(self, slots: Slots, tokens: Tensor, places: Tensor) -> None:
        forward = self._forward
        mask = step_mask(forward, places, slots.capacity)
        cache = slots.step_cache(forward.layers, places, slots.rows, slots.capacity)
        states = forward.hidden(tokens, places[:, None], mask, cache, is_step=True)[:, -1]
        tokens.copy_(forward.logits(states).argmax(dim=-1)[:, None])
        places.add_(1).clamp_(max=slots.capacity - 1)
