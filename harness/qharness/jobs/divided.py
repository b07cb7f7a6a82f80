"""Steps whose requests are answered in chunks, until they can be scored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from qharness.engines.dividing import Division
from qharness.evaluation.base import StepKey
from qharness.jobs.chunks import ChunkJob
from qharness.jobs.evaluate import EvaluationJob
from qharness.jobs.outcome import Outcome
from qharness.jobs.spent import Spent


@dataclass
class _Open:
    """A divided step: the job that scores it, and how many chunks are not answered yet."""

    scoring: EvaluationJob
    left: int


class DividedSteps:
    """Hands out the chunks of large steps and keeps count of them."""

    def __init__(self) -> None:
        self._open: dict[Path, _Open] = {}

    def chunks(self, job: EvaluationJob, step: StepKey, division: Division, spent: Spent) -> list[ChunkJob]:
        """Return the chunks of a step.

        Args:
            job: Job that came upon the step.
            step: Key of the step.
            division: Its requests, cut into chunks.
            spent: What it took to build them.
        """
        answered = (*job.answered, division.plan)
        scoring = replace(job, steps=(step,), answered=answered, spent=job.spent + spent)
        self._open[division.path] = _Open(scoring, len(division.chunks))
        return [
            ChunkJob(job.site, job.configuration, division.path, division.plan, places) for places in division.chunks
        ]

    def settle(self, chunk: ChunkJob, outcome: Outcome[Spent]) -> Iterable[EvaluationJob]:
        """Count a chunk; after the last one return the job that scores the step from the request cache.

        A chunk that failed is not repeated: scoring asks for what is missing, and tells why it cannot be had.
        """
        found = self._open[chunk.path]
        found.scoring = replace(found.scoring, spent=found.scoring.spent + (outcome.value or Spent(outcome.seconds)))
        found.left -= 1
        if found.left:
            return ()
        del self._open[chunk.path]
        chunk.path.unlink(missing_ok=True)
        return (found.scoring,)
