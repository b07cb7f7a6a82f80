"""Distributions along a given continuation: in one prefill pass, or token by token through the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from qharness.engines.base import LikelihoodRequest
from qharness.engines.decoding import Decoder
from qharness.engines.forward import Forward
from qharness.engines.heads import plan_heads
from qharness.engines.prefill import Prefill
from qharness.engines.slots import Slots


@runtime_checkable
class FollowingEngine(Protocol):
    """An engine that shows its whole distribution, not only scores and texts."""

    def path_logits(self, request: LikelihoodRequest) -> Tensor:
        """Return the logits that predict each token of the continuation, by one prefill pass.

        Returns:
            Float32, shape (tokens of the continuation, vocabulary).
        """

    def follow(self, requests: Sequence[LikelihoodRequest]) -> Iterator[Tensor]:
        """Feed the continuations token by token behind their prefilled contexts.

        Yields:
            For each position the logits that predict it, float32, shape (requests, vocabulary); rows whose
            continuation has ended go on with token 0 and mean nothing.
        """


@torch.inference_mode()
def path_logits(forward: Forward, request: LikelihoodRequest) -> Tensor:
    """Return the logits of `FollowingEngine.path_logits`."""
    tokens = (*request.context, *request.continuation[:-1])
    states = forward.hidden(forward.pad([tokens]))
    return forward.logits(states[0, len(request.context) - 1 :])


@torch.inference_mode()
def follow(forward: Forward, prefill: Prefill, requests: Sequence[LikelihoodRequest]) -> Iterator[Tensor]:
    """Yield the logits of `FollowingEngine.follow`."""
    prompts = plan_heads([request.context for request in requests])
    lengths = [len(prompt.tokens) for prompt in prompts]
    longest = max(len(request.continuation) for request in requests)
    decoder = Decoder(forward, prefill, Slots(len(prompts), max(lengths) + longest))
    decoder.admit(range(len(prompts)), prompts, lengths)
    for place in range(longest):
        yield forward.logits(decoder.states)
        if place + 1 < longest:
            decoder.step([r.continuation[place] if place < len(r.continuation) else 0 for r in requests])
