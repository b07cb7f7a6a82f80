"""Requests through vLLM's engine, step by step in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams
    from vllm.outputs import RequestOutput

Ask = tuple[Sequence[int], "SamplingParams"]
"""A prompt as token ids, and how it is continued."""


class Session:
    """Runs requests in vLLM with its continuous batching.

    Args:
        llm: vLLM, in this process.
    """

    def __init__(self, llm: LLM) -> None:
        self._engine: Any = llm.llm_engine
        self._numbers = count()

    def run(self, asks: Sequence[Ask], receive: Callable[[int, RequestOutput], bool]) -> None:
        """Run all requests to their end.

        Args:
            asks: The requests.
            receive: Told the index of a request and what vLLM has for it, after every step (once, at the end, for
                requests of output kind `FINAL_ONLY`); returns whether the request needs no more steps.
        """
        places: dict[str, int] = {}
        try:
            for place, (prompt, params) in enumerate(asks):
                name = f"qharness-{next(self._numbers)}"
                self._engine.add_request(name, {"prompt_token_ids": list(prompt)}, params)
                places[name] = place
            while places:
                for output in self._engine.step():
                    place = places.get(output.request_id)
                    if place is None:
                        continue
                    enough = receive(place, output)
                    if output.finished or enough:
                        del places[output.request_id]
                        if not output.finished:
                            self._engine.abort_request([output.request_id])
        finally:
            if places:
                self._engine.abort_request(list(places))
