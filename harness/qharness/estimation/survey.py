"""What the steps of a run ask, told from a few documents of each task: the requests are built and never answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import groupby
from typing import Any

from qharness.engines.base import Generation, GenerationRequest, Likelihood, LikelihoodRequest
from qharness.engines.heads import common_length
from qharness.engines.planned import Planned, PlannedEngine, RequestPath
from qharness.estimation.sizes import StepSize
from qharness.evaluation.base import EvaluationContext, StepKey
from qharness.jobs.evaluate import Step

log = logging.getLogger(__name__)

MOST_STRETCHED = 512
"""Requests of a step that are planned; more are counted in proportion."""


@dataclass(frozen=True)
class Call:
    """One list of requests, as long as the step's own, up to `MOST_STRETCHED`."""

    path: RequestPath
    requests: Sequence[Any]


@dataclass(frozen=True)
class Surveyed:
    """What a step asks: its size, and its calls in short."""

    size: StepSize
    calls: Sequence[Call]


class SurveyingEngine(PlannedEngine):
    """Notes what it is asked and answers nothing of meaning.

    Args:
        engine: The engine that would answer.
    """

    def __init__(self, engine: PlannedEngine) -> None:
        self._engine = engine
        self.name, self.notice, self.identity = engine.name, engine.notice, engine.identity
        self.tokenizer, self.max_length, self.kernels = engine.tokenizer, engine.max_length, engine.kernels
        self.asked: list[tuple[RequestPath, Sequence[Any]]] = []

    def plan(self, path: RequestPath, requests: Sequence[Any]) -> Planned[Any]:
        """Note the requests and return a plan without work, whose answers are empty."""
        self.asked.append((path, list(requests)))
        empty: Any = Generation("", (), "length") if path == "generate" else Likelihood(0.0, False)
        return _Answered([], ["" for _ in requests], lambda: empty, None)

    def close(self) -> None:
        """Leave the engine open."""


class _Answered(Planned[Any]):
    def run(self, progress: Any) -> list[Any]:
        return [self.make() for _ in self.keys]


def survey(
    steps: Sequence[Step], contexts: Mapping[StepKey, EvaluationContext], engine: PlannedEngine, documents: int
) -> dict[StepKey, Surveyed]:
    """Return what each step asks of a model.

    Prompts that an earlier step on the same data asks for, too, are not counted again if the engine remembers them.
    A step whose requests cannot be had is left out: the run itself tells why.

    Args:
        steps: The steps, those on one data set side by side.
        contexts: Context of each step, for an engine of any kind.
        engine: The engine that will answer.
        documents: Documents of each task that are looked at.
    """
    import_module("lm_eval.evaluator")  # takes seconds, which are no step's own
    found: dict[StepKey, Surveyed] = {}
    for _, group in groupby(steps, key=lambda step: step.data_set):
        remembered: set[Hashable] = set()
        for step in group:
            try:
                surveyed = _survey(step, contexts[step.key], engine, documents, remembered)
            except Exception as error:
                log.debug("%s cannot be surveyed", step.key, exc_info=error)
                continue
            if surveyed is not None:
                found[step.key] = surveyed
    return found


def _survey(
    step: Step, context: EvaluationContext, engine: PlannedEngine, documents: int, remembered: set[Hashable]
) -> Surveyed | None:
    recorder = SurveyingEngine(engine)
    count, loading = [0], [0.0]

    def load_tasks(names: Any, data: Any) -> Mapping[str, Any]:
        began = time.monotonic()
        tasks = context.suite.load_tasks(names, data)
        count[0] = sum(len(task.eval_docs) for task in tasks.values())
        loading[0] = time.monotonic() - began
        return tasks

    limit = min(documents, context.limit or documents) if step.task else context.limit
    spied = replace(
        context, engine=recorder, suite=replace(context.suite, load_tasks=load_tasks), limit=limit,
        baseline=lambda: recorder, task_done=lambda task, samples, results: None,
        progress=lambda done, total, label: None,
    )  # fmt: skip
    started = time.monotonic()
    try:
        step.evaluator.run(spied)
    except Exception as error:
        log.debug("%s does not go on without answers", step.key, exc_info=error)
    seconds = time.monotonic() - started - loading[0]
    if not recorder.asked:
        return None
    whole = min(count[0], context.limit or count[0]) if step.task else len(recorder.asked[0][1])
    seen = min(limit or whole, whole) if step.task else whole
    scale = whole / max(seen, 1)
    calls = [_stretched(path, requests, scale) for path, requests in recorder.asked]
    size = _size(engine, calls, recorder.asked, scale, remembered)
    return Surveyed(replace(size, documents=whole, build=loading[0] + seconds * scale), calls)


def _stretched(path: RequestPath, requests: Sequence[Any], scale: float) -> Call:
    copies = max(1, min(round(scale), MOST_STRETCHED // max(len(requests), 1)))
    prompts = sorted({request[0] for request in requests})
    head = common_length(prompts[0], prompts[-1])
    whole = [varied(request, copy, head) for copy in range(copies) for request in requests]
    return Call(path, whole)


def varied(request: Any, copy: int, head: int) -> Any:
    """Return a request of the same length that shares no more with other copies than a number of leading tokens."""
    if isinstance(request, LikelihoodRequest):
        return request._replace(context=_varied(request.context, copy, head))
    assert isinstance(request, GenerationRequest)
    return request._replace(prompt=_varied(request.prompt, copy, head))


def _varied(tokens: tuple[int, ...], copy: int, head: int) -> tuple[int, ...]:
    """Swap a token to the place behind the head: one that the prompt has, so that the model knows it."""
    first = head if head + 1 < len(tokens) else max(len(tokens) - 2, 0)
    if copy == 0 or len(tokens) < 2:
        return tokens
    place = first + 1 + (copy - 1) % (len(tokens) - first - 1)
    return (*tokens[:first], tokens[place], *tokens[first + 1 : place], tokens[first], *tokens[place + 1 :])


def _size(
    engine: PlannedEngine,
    calls: Sequence[Call],
    asked: Sequence[tuple[RequestPath, Sequence[Any]]],
    scale: float,
    remembered: set[Hashable],
) -> StepSize:
    prefill = decode = 0.0
    slots = requests = 0
    for call, (_, few) in zip(calls, asked, strict=True):
        factor = scale * len(few) / max(len(call.requests), 1)
        works = [batch.work for batch in engine.plan(call.path, call.requests).batches]
        pieces = {piece: count for work in works for piece, count in work.pieces.items()}
        new = {piece: count for piece, count in pieces.items() if piece not in remembered}
        prefill += factor * (sum(work.prefill for work in works) + sum(new.values()))
        decode += factor * sum(work.decode for work in works)
        slots = max([slots, *(work.slots for work in works)])
        requests += round(scale * len(few))
        if factor * sum(pieces.values()) <= engine.remembered:
            remembered.update(new)
    return StepSize(0, requests, round(prefill), round(decode), slots=slots)
