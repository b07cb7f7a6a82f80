"""Generation in batches: greedy or sampled, finished rows leave the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qharness.engines.base import Generation, GenerationRequest
from qharness.engines.decoding import Decoder
from qharness.engines.forward import Forward
from qharness.engines.prefill import Prefill
from qharness.engines.stopping import StopRule

SHRINK = 0.75
"""The batch is rebuilt when at most this share of its rows is unfinished: rebuilding costs about two steps."""


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


def generate_batch(
    forward: Forward, prefill: Prefill, rule: StopRule, requests: Sequence[GenerationRequest]
) -> list[Generation]:
    """Continue all prompts of a batch until each is finished.

    Args:
        forward: Model.
        prefill: Fills the slots with the prompts.
        rule: Stop rule.
        requests: Requests, best of similar length.
    """
    room = max(request.max_new_tokens for request in requests)
    prompts = [request.prompt for request in requests]
    decoder = Decoder(forward, prefill, prompts, [len(prompt) for prompt in prompts], room)
    sources = [torch.Generator().manual_seed(request.seed) for request in requests]
    tokens: list[list[int]] = [[] for _ in requests]
    reasons = [""] * len(requests)
    rows = list(range(len(requests)))
    while rows:
        chosen = next_tokens(forward.logits(decoder.states), [requests[i] for i in rows], [sources[i] for i in rows])
        for index, token in zip(rows, chosen, strict=True):
            if not reasons[index]:
                tokens[index].append(token)
                reasons[index] = rule.finish(requests[index], tokens[index])
        kept = [row for row, index in enumerate(rows) if not reasons[index]]
        if len(kept) <= SHRINK * len(rows):
            rows, chosen = [rows[row] for row in kept], [chosen[row] for row in kept]
            if rows:
                decoder.select(kept)
        if rows:
            decoder.step(chosen)
    return [
        Generation(rule.text(request, row), tuple(row), reason)
        for request, row, reason in zip(requests, tokens, reasons, strict=True)
    ]
