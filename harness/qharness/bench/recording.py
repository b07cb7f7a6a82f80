"""An engine that remembers what it was asked and what it answered, and the time inside lm-eval's calls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from qharness.bench.clock import Clock
from qharness.bench.least import least_tokens, scored_rows, written_rows
from qharness.engines.base import Engine, Generation, GenerationRequest, Likelihood, LikelihoodRequest, Progress

if TYPE_CHECKING:
    from lm_eval.api.model import LM


class RecordingEngine:
    """Passes everything on to an engine.

    Args:
        engine: The engine.

    Attributes:
        rows: Token sequences that had to be fed, by the requests and the answers.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.rows: list[tuple[int, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def loglikelihood(self, requests: Sequence[LikelihoodRequest], progress: Progress) -> list[Likelihood]:
        """Score continuations and remember the requests."""
        self.rows += scored_rows(requests, self._engine.max_length)
        return self._engine.loglikelihood(requests, progress)

    def generate(self, requests: Sequence[GenerationRequest], progress: Progress) -> list[Generation]:
        """Generate continuations and remember requests and answers."""
        answers = self._engine.generate(requests, progress)
        self.rows += written_rows(requests, answers)
        return answers

    @property
    def least_tokens(self) -> int:
        """Return the least number of tokens that exact prefix sharing must forward for what was asked."""
        return least_tokens(self.rows)


def time_answers(lm: LM, clock: Clock) -> None:
    """Let the clock run inside an lm-eval model's answers: tokenisation and model, without prompts and metrics."""
    for name in ("loglikelihood", "generate_until"):
        setattr(lm, name, partial(_timed, getattr(lm, name), clock))


def _timed(inner: Any, clock: Clock, *args: Any, **kwargs: Any) -> Any:
    with clock:
        return inner(*args, **kwargs)
