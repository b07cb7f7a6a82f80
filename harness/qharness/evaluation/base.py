"""What an evaluator gets and returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qharness.engines.base import Engine
    from qharness.host import Host
    from qharness.records import Suite, TaskSpec
    from qharness.results.schema import Result, Sample


StepKey = tuple[str, str, int]
"""What tells the steps of a run apart: evaluator, task and number of examples."""


@dataclass
class EvaluationContext:
    """One evaluator's job on one model.

    Attributes:
        engine: The model, ready to answer.
        suite: Suite the tasks belong to.
        tasks: Tasks to measure; empty for evaluators with prompts of their own.
        data: `hub` or a folder of data sets.
        data_name: Name of the data source as results show it.
        num_fewshot: Shots.
        limit: Documents per task, or None for all.
        seed: Seed of sampled generation; few-shot draws keep lm-eval's own seed 1234.
        chat_template: Whether prompts go through the tokenizer's chat template.
        system: System prompt.
        baseline: Returns the unquantized model with an exact cache, loaded when first asked for; for evaluators that
            compare distributions. None where there is none.
        perplexity: Texts whose perplexity is measured: names of protocols, or text sources.
        part: Which part of its work an evaluator with prompts of its own shall do; empty for all of it.
        host: Registry, for text sources; None where none is needed.
        progress: Called with (done, total, label).
        task_done: Called with the samples and results of each finished task, so that they can be stored at once.
    """

    engine: Engine
    suite: Suite
    tasks: Sequence[TaskSpec]
    data: str
    data_name: str
    num_fewshot: int = 5
    limit: int | None = None
    seed: int = 0
    chat_template: bool = False
    system: str | None = None
    baseline: Callable[[], Engine] | None = None
    perplexity: Sequence[str] = ()
    part: str = ""
    host: Host | None = None
    progress: Callable[[int, int, str], None] = lambda done, total, label: None
    task_done: Callable[[str, list[Sample], list[Result]], None] = lambda task, samples, results: None


@dataclass(frozen=True)
class TaskFailure:
    """A task that could not be measured, with one sentence why.

    `is_skipped` tells that its data are the user's to bring and absent: it counts as missing, and the run as done.
    """

    evaluator: str
    task: str
    reason: str
    is_skipped: bool = False


@dataclass
class Evaluation:
    """Everything one evaluator measured."""

    samples: list[Sample] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    failures: list[TaskFailure] = field(default_factory=list)
