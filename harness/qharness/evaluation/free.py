"""Free generation: short Polish openings, greedy, 256 tokens, judged for degeneration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from typing import Any, NamedTuple

from qharness.engines.base import Engine, Generation, GenerationRequest
from qharness.evaluation.base import Evaluation, EvaluationContext
from qharness.evaluation.degeneration import judge
from qharness.results.schema import Result, Sample

NEW_TOKENS = 256
TASK = "free"


class Prompt(NamedTuple):
    """One opening and its register (`facts`, `story`, `dialogue`, `instruction`)."""

    id: str
    register: str
    prompt: str


def load_prompts() -> list[Prompt]:
    """Return the prompts of `prompts/free_pl.jsonl`."""
    text = files("qharness.evaluation").joinpath("prompts/free_pl.jsonl").read_text(encoding="utf-8")
    return [Prompt(**json.loads(line)) for line in text.splitlines()]


def run_free(context: EvaluationContext) -> Evaluation:
    """Continue every prompt greedily and judge the texts.

    Results are means over the prompts that have a value: `loop_onset` only over those that loop.
    """
    prompts = load_prompts()[: context.limit]
    texts = [_wrap(prompt.prompt, context) for prompt in prompts]
    requests = [GenerationRequest(_encode(context.engine, text), (), NEW_TOKENS) for text in texts]
    answers = context.engine.generate(requests, lambda done, total: context.progress(done, total, TASK))
    samples = [
        row
        for place, (prompt, text, answer) in enumerate(zip(prompts, texts, answers, strict=True))
        for row in _rows(place, prompt, text, answer)
    ]
    results = [
        _mean(
            metric,
            [sample.value for sample in samples if sample.metric == metric and sample.value is not None],
            context,
        )
        for metric in dict.fromkeys(sample.metric for sample in samples if sample.value is not None)
    ]
    context.task_done(TASK, samples, results)
    return Evaluation(samples, results)


def metrics_of(answer: Generation) -> dict[str, float | None]:
    """Return the metrics of one generation: those of `judge`, whether a loop was found, and how it ended."""
    tokens = answer.tokens[:-1] if answer.finish == "eos" else answer.tokens
    judged = {
        name: None if value is None else float(value) for name, value in asdict(judge(tokens, answer.text)).items()
    }
    return {
        **judged,
        "looped": float(judged["loop_onset"] is not None),
        "finished": float(answer.finish == "eos"),
        "mean_tokens": float(len(tokens)),
    }


def _rows(place: int, prompt: Prompt, sent: str, answer: Generation) -> list[Sample]:
    return [
        Sample(
            evaluator=TASK,
            task=TASK,
            kind="gen",
            doc_id=place,
            doc_hash=_sha256(prompt.prompt),
            prompt_hash=_sha256(sent),
            cluster=prompt.register,
            filter="none",
            metric=metric,
            value=value,
            gold=prompt.prompt,
            prediction="",
            response=answer.text,
            tokens=len(answer.tokens),
        )
        for metric, value in metrics_of(answer).items()
    ]


def _mean(metric: str, values: list[float], context: EvaluationContext) -> Result:
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values)
    stderr = (spread / (len(values) - 1) / len(values)) ** 0.5 if len(values) > 1 else None
    return Result(
        evaluator=TASK,
        suite=context.suite.name,
        task=TASK,
        kind="gen",
        metric=metric,
        filter="none",
        num_fewshot=0,
        n=len(values),
        value=mean,
        stderr=stderr,
        data="",
    )


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
