"""Generation in vLLM with the host's stop rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from qharness.engines.base import Generation, GenerationRequest

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput

    from qharness.engines.stopping import StopRule
    from qharness_vllm.session import Session


def generate(session: Session, rule: StopRule, requests: Sequence[GenerationRequest]) -> list[Generation]:
    """Continue prompts; the stop rule looks at every token, as in the engine `hf`, and ends the request in vLLM."""
    tokens: list[list[int]] = [[] for _ in requests]
    reasons = [""] * len(requests)

    def receive(place: int, output: RequestOutput) -> bool:
        for token in output.outputs[0].token_ids:
            if not reasons[place]:
                tokens[place].append(token)
                reasons[place] = rule.finish(requests[place], tokens[place])
        return bool(reasons[place])

    session.run([(request.prompt, sampling(request)) for request in requests], receive)
    return [
        Generation(rule.text(request, row), tuple(row), reason)
        for request, row, reason in zip(requests, tokens, reasons, strict=True)
    ]


def sampling(request: GenerationRequest) -> SamplingParams:
    """Return vLLM's settings of a request; the draws of a seed are vLLM's own."""
    return SamplingParams(
        max_tokens=request.max_new_tokens,
        temperature=request.temperature,
        seed=request.seed if request.temperature > 0 else None,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )
