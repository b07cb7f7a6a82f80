"""Our own Polish openings for free generation, by register."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from qharness.engines.base import Engine, Generation, GenerationRequest
from qharness.evaluation.base import EvaluationContext
from qharness.results.schema import Result, Sample
from qharness.statistics.intervals import standard_error

FEW = 20
"""Openings of the default run, five of each register; they stand first in the file."""
NEW_TOKENS = 256


class Prompt(NamedTuple):
    """One opening and its register (`facts`, `story`, `dialogue`, `instruction`)."""

    id: str
    register: str
    prompt: str


class Opening(NamedTuple):
    """An opening as a model gets it."""

    place: int
    prompt: Prompt
    text: str
    tokens: tuple[int, ...]


def load_prompts() -> list[Prompt]:
    """Return the openings of `prompts/free_pl.jsonl`."""
    text = files("qharness.evaluation").joinpath("prompts/free_pl.jsonl").read_text(encoding="utf-8")
    return [Prompt(**json.loads(line)) for line in text.splitlines()]


def openings(context: EvaluationContext, count: int = FEW) -> list[Opening]:
    """Return the first openings, wrapped and tokenised, at most the context's limit."""
    found = []
    for place, prompt in enumerate(load_prompts()[:count][: context.limit]):
        text = _wrap(prompt.prompt, context)
        found.append(Opening(place, prompt, text, _encode(context.engine, text)))
    return found


def write_texts(
    engine: Engine,
    chosen: Sequence[Opening],
    context: EvaluationContext,
    label: str,
    *,
    temperature: float = 0.0,
    new_tokens: int = NEW_TOKENS,
) -> list[Generation]:
    """Continue openings; sampled texts have the context's seed plus the opening's place."""
    requests = [
        GenerationRequest(o.tokens, (), new_tokens, temperature, context.seed + o.place if temperature else 0)
        for o in chosen
    ]
    return engine.generate(requests, lambda done, total: context.progress(done, total, label))


def row(opening: Opening, evaluator: str, task: str, metric: str, value: float | None, answer: Generation) -> Sample:
    """Return the sample row of one metric of one text."""
    return Sample(
        evaluator=evaluator,
        task=task,
        kind="gen",
        doc_id=opening.place,
        doc_hash=_sha256(opening.prompt.prompt),
        prompt_hash=_sha256(opening.text),
        cluster=opening.prompt.register,
        filter="none",
        metric=metric,
        value=value,
        gold=opening.prompt.prompt,
        prediction="",
        response=answer.text,
        tokens=len(answer.tokens),
    )


def score(evaluator: str, task: str, metric: str, values: Sequence[float], context: EvaluationContext) -> Result:
    """Return the mean of a metric over the texts that have it."""
    mean = sum(values) / len(values)
    return Result(
        evaluator=evaluator,
        suite=context.suite.name,
        task=task,
        kind="gen",
        metric=metric,
        filter="none",
        num_fewshot=0,
        n=len(values),
        value=mean,
        stderr=standard_error(values),
        data="",
    )


def scores(samples: Sequence[Sample], context: EvaluationContext) -> list[Result]:
    """Return the mean of every metric of one task's samples, over the texts that have a value."""
    found: dict[str, list[float]] = {}
    for sample in samples:
        if sample.value is not None:
            found.setdefault(sample.metric, []).append(sample.value)
    first = samples[0] if samples else None
    return (
        [score(first.evaluator, first.task, name, values, context) for name, values in found.items()] if first else []
    )


def tokens_of(answer: Generation) -> tuple[int, ...]:
    """Return the tokens of a text without its end-of-text token."""
    return answer.tokens[:-1] if answer.finish == "eos" else answer.tokens


def _wrap(prompt: str, context: EvaluationContext) -> str:
    if not context.chat_template:
        return prompt
    system = [{"role": "system", "content": context.system}] if context.system else []
    chat = [*system, {"role": "user", "content": prompt}]
    tokenizer: Any = context.engine.tokenizer
    return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))


def _encode(engine: Engine, text: str) -> tuple[int, ...]:
    bos = engine.tokenizer.bos_token
    special: Callable[..., Any] = engine.tokenizer
    return tuple(special(text, add_special_tokens=not (bos and text.startswith(bos)))["input_ids"])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
