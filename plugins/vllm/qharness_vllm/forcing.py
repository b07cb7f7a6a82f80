"""Feeding given tokens through vLLM's decode path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

if TYPE_CHECKING:
    from torch import Tensor
    from vllm import SamplingParams

FORCED = "qharness_forced"
"""Key of `SamplingParams.extra_args` with the tokens that a request must write."""


class ForcedTokens(AdapterLogitsProcessor):
    """Makes a request write the tokens it was given, one in each decoding step.

    vLLM takes log-probabilities and ranks from the logits before this, so they are the model's own.
    """

    def is_argmax_invariant(self) -> bool:
        """Return False: greedy sampling must see it."""
        return False

    def new_req_logits_processor(self, params: SamplingParams) -> Callable[[list[int], Tensor], Tensor] | None:
        """Return what forces the tokens of one request, or None where there are none."""
        tokens: Sequence[int] | None = (params.extra_args or {}).get(FORCED)
        if tokens is None:
            return None

        def force(written: list[int], logits: Tensor) -> Tensor:
            forced = logits.new_full(logits.shape, float("-inf"))
            # A step scheduled ahead may pass the end; what it writes is thrown away.
            forced[tokens[min(len(written), len(tokens) - 1)]] = 0
            return forced

        return force
