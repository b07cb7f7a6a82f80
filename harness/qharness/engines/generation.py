"""Generation with continuous batching: a finished row makes room for the next prompt."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from qharness.engines.base import Generation, GenerationRequest
from qharness.engines.decoding import Decoder
from qharness.engines.forward import Forward
from qharness.engines.graphs import GraphSteps
from qharness.engines.heads import Prompt
from qharness.engines.prefill import Prefill
from qharness.engines.slots import Slots
from qharness.engines.stopping import StopRule

ROUNDING = 64
"""Capacities are multiples of this, so that batches of similar length share a graph and masks stay aligned."""
ROOM = 4
"""On a GPU prompts are admitted when one row in so many is free: they are cheap together and dear one by one."""


def next_tokens(logits: Tensor, requests: Sequence[GenerationRequest], sources: Sequence[torch.Generator]) -> list[int]:
    """Return each row's next token: the most likely one, or a draw at the request's temperature.

    Args:
        logits: Shape (rows, vocabulary), float32.
        requests: Request of each row.
        sources: Random source of each row.
    """
    chosen: list[int] = logits.argmax(dim=-1).tolist()
    for row, request in enumerate(requests):
        if request.temperature > 0:
            weights = torch.softmax(logits[row].cpu() / request.temperature, dim=-1)
            chosen[row] = int(torch.multinomial(weights, 1, generator=sources[row]))
    return chosen


class Stream:
    """A unit of generation work: prompts that pass through a number of rows.

    Args:
        forward: Model.
        prefill: Fills the rows with prompts.
        rule: Stop rule.
        requests: Requests, best of similar length, sorted.
        prompts: Their prompts, cut at shared heads.
        rows: Most rows.
        graphs: Steps by CUDA graphs, for greedy requests on a GPU; None for one eager step after the other.
    """

    def __init__(
        self,
        forward: Forward,
        prefill: Prefill,
        rule: StopRule,
        requests: Sequence[GenerationRequest],
        prompts: Sequence[Prompt],
        rows: int,
        graphs: GraphSteps | None,
    ) -> None:
        self._forward, self._rule, self._requests, self._prompts = forward, rule, requests, prompts
        self._sources = [torch.Generator().manual_seed(request.seed) for request in requests]
        self._tokens: list[list[int]] = [[] for _ in requests]
        self._reasons = [""] * len(requests)
        self._waiting = deque(range(len(requests)))
        self._seats: list[int | None] = [None] * min(rows, len(requests))
        self._graphs = graphs if all(request.temperature == 0 for request in requests) else None
        longest = max(len(request.prompt) + request.max_new_tokens for request in requests)
        capacity = -(-longest // ROUNDING) * ROUNDING if self._graphs else longest
        slots = self._graphs.storage(len(self._seats), capacity) if self._graphs else Slots(len(self._seats), capacity)
        self._decoder = Decoder(forward, prefill, slots)
        self._least = max(1, len(self._seats) // ROOM) if forward.device.type == "cuda" else 1

    def run(self) -> list[Generation]:
        """Return the generations in the order of the requests."""
        while self._waiting or any(seat is not None for seat in self._seats):
            self._admit()
            if self._graphs and self._graphs.are_ready(self._decoder):
                self._advance(self._graphs)
            else:
                self._step()
        return [
            Generation(self._rule.text(request, tokens), tuple(tokens), reason)
            for request, tokens, reason in zip(self._requests, self._tokens, self._reasons, strict=True)
        ]

    def _admit(self) -> None:
        """Fill free rows with waiting prompts and take their first tokens."""
        while self._waiting:
            free = [row for row, seat in enumerate(self._seats) if seat is None]
            if len(free) < self._least:
                return
            indexes = [self._waiting.popleft() for _ in range(min(len(free), len(self._waiting)))]
            rows = free[: len(indexes)]
            prompts = [self._prompts[index] for index in indexes]
            self._decoder.admit(rows, prompts, [len(prompt.tokens) for prompt in prompts])
            for row, index in zip(rows, indexes, strict=True):
                self._seats[row] = index
            at = torch.tensor(rows, device=self._forward.device)
            self._take(rows, self._choose(self._decoder.states[at], indexes))

    def _step(self) -> None:
        """Feed every row its last token and take the next one."""
        self._close_ranks()
        indexes = [index for index in self._seats if index is not None]
        if indexes:
            states = self._decoder.step([self._tokens[index][-1] for index in indexes])
            self._take(range(len(indexes)), self._choose(states, indexes))

    def _close_ranks(self) -> None:
        """Move the last rows to the free ones, so that none of these is computed."""
        row = 0
        while row < len(self._seats):
            if self._seats[row] is not None:
                row += 1
                continue
            last = self._seats.pop()
            if last is not None:
                self._decoder.move(len(self._seats), row)
                self._seats[row] = last

    def _advance(self, graphs: GraphSteps) -> None:
        """Let every row go on by several greedy tokens, and take those that come before its end."""
        last = [0 if index is None else self._tokens[index][-1] for index in self._seats]
        for chosen in graphs.run(self._decoder, last):
            self._take(range(len(self._seats)), chosen)

    def _choose(self, states: Tensor, indexes: Sequence[int]) -> list[int]:
        requests = [self._requests[index] for index in indexes]
        return next_tokens(self._forward.logits(states), requests, [self._sources[index] for index in indexes])

    def _take(self, rows: Sequence[int], chosen: Sequence[int]) -> None:
        """Append a token to the text in each occupied row; a finished one frees its row."""
        for row, token in zip(rows, chosen, strict=True):
            index = self._seats[row]
            if index is not None:
                self._tokens[index].append(token)
                self._reasons[index] = self._rule.finish(self._requests[index], self._tokens[index])
                if self._reasons[index]:
                    self._seats[row] = None
