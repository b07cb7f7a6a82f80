"""Measured rates of a model: a few batches of the run's own requests, timed and forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qharness.engines.planned import Batch, PlannedEngine, RequestPath
from qharness.estimation.sizes import Rates, StepSize, rates_of
from qharness.estimation.survey import Call, Surveyed
from qharness.evaluation.base import StepKey
from qharness.jobs.spent import Spent, Stopwatch

FREE_TOKENS = 32
"""Tokens of timed texts that nothing but their limit ends; they are taken to reach it."""


@dataclass(frozen=True)
class Probe:
    """What a probe found.

    Attributes:
        rates: Tokens a second.
        sizes: What each step asks, with the expected share of its decoding.
        batches: Number of batches that were timed.
    """

    rates: Rates
    sizes: Mapping[StepKey, StepSize]
    batches: int


@dataclass(frozen=True)
class Extent:
    """How much a probe does.

    Attributes:
        tokens: Tokens of a timed batch; batches of the engine's own size when 0.
        writing: Steps of each evaluator whose writing is timed, the largest first; the others are taken to write
            as much of their limit as these.
    """

    tokens: int
    writing: int


def probe(engine: PlannedEngine, surveyed: Mapping[StepKey, Surveyed], extent: Extent) -> Probe:
    """Time batches of both kinds, reading and writing; nothing is stored.

    Args:
        engine: The model.
        surveyed: What the steps ask.
        extent: How much is timed.

    Raises:
        ValueError: The steps ask nothing that could be timed.
    """
    reading, writing = [], []
    shares: dict[StepKey, float] = {}
    if surveyed:
        _warm_up(engine, next(iter(surveyed.values())).calls[0])
    order = sorted(surveyed, key=lambda key: -surveyed[key].size.tokens)
    for key in [key for key in order if _path(surveyed[key]) == "loglikelihood"][:1]:
        reading.append(_time(engine, surveyed[key].calls[0], extent)[0])
    if not reading:
        reading = [_time(engine, _limited(surveyed[key].calls[0], 1), extent)[0] for key in order[:1]]
    for evaluator in dict.fromkeys(key[0] for key in order):
        writers = [key for key in order if key[0] == evaluator and surveyed[key].size.decode]
        exact = bool(writers) and _path(surveyed[writers[0]]) == "decode_loglikelihood"
        for key in writers[: 1 if exact else extent.writing]:
            call, is_free = _shortened(surveyed[key].calls[0])
            spent, limit = _time(engine, call, extent)
            writing.append(spent)
            shares[key] = 1.0 if is_free or not limit else spent.decode / limit
        timed = [shares[key] for key in writers if key in shares]
        for key in writers:
            shares.setdefault(key, sum(timed) / len(timed))
    sizes = {key: replace(found.size, share=shares.get(key, 1.0)) for key, found in surveyed.items()}
    return Probe(rates_of(reading, writing), sizes, len(reading) + len(writing))


def _path(surveyed: Surveyed) -> RequestPath:
    return surveyed.calls[0].path


def _time(engine: PlannedEngine, call: Call, extent: Extent) -> tuple[Spent, int]:
    """Return what a batch of middle length takes, and how many tokens it might have written."""
    requests = _few(call.requests, extent.tokens) if extent.tokens else call.requests
    batches = engine.plan(call.path, requests).batches
    batch = batches[len(batches) // 2]
    watch = Stopwatch(engine)
    _answers(batch)
    return watch.read(), batch.work.decode


def _answers(batch: Batch[Any]) -> Any:
    """Compute a batch and wait for the device."""
    fresh = batch.compute()
    return fresh() if callable(fresh) else fresh


def _few(requests: Sequence[Any], tokens: int) -> Sequence[Any]:
    """Return the last requests whose prompts together have about so many tokens."""
    chosen: list[Any] = []
    prompts: set[tuple[int, ...]] = set()
    for request in reversed(requests):
        prompts.add(request[0])
        if chosen and sum(map(len, prompts)) > tokens:
            break
        chosen.append(request)
    return chosen


def _warm_up(engine: PlannedEngine, call: Call) -> None:
    """Let the engine do once what it does only once."""
    short = _limited(call, 2)
    _answers(engine.plan(short.path, short.requests[:1]).batches[0])


def _shortened(call: Call) -> tuple[Call, bool]:
    """Return a call with short texts if nothing but their limit ends them, and whether that is so."""
    is_free = call.path == "generate" and not any(request.until for request in call.requests)
    return (_limited(call, FREE_TOKENS), True) if is_free else (call, False)


def _limited(call: Call, tokens: int) -> Call:
    """Return a call whose texts have at most so many tokens."""
    if call.path != "generate":
        return call
    return Call(call.path, [r._replace(max_new_tokens=min(tokens, r.max_new_tokens)) for r in call.requests])
