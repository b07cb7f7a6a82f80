"""Free generation: Polish openings continued and judged for degeneration."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

from qharness.engines.base import Generation
from qharness.evaluation.base import Evaluation, EvaluationContext
from qharness.evaluation.degeneration import judge
from qharness.evaluation.openings import FEW, NEW_TOKENS, load_prompts, openings, row, scores, tokens_of, write_texts

TASK = "free"
WIDE = "free_wide"


class Setting(NamedTuple):
    """One way of writing: temperature and tokens."""

    temperature: float
    new_tokens: int

    @property
    def task(self) -> str:
        """Name of the task in results, for example `free_wide-t0.7-1024`."""
        heat = f"-t{self.temperature:g}" if self.temperature else ""
        return f"{WIDE}{heat}-{self.new_tokens}"


SETTINGS = tuple(Setting(heat, length) for heat in (0.0, 0.7) for length in (256, 1024))


def run_free(context: EvaluationContext) -> Evaluation:
    """Continue 20 openings greedily by 256 tokens and judge the texts.

    Results are means over the texts that have a value: `loop_onset` only over those that loop.
    """
    return _run(context, TASK, TASK, FEW, Setting(0.0, NEW_TOKENS))


def run_free_wide(context: EvaluationContext) -> Evaluation:
    """Continue all 60 openings, greedily and at temperature 0.7, by 256 and by 1,024 tokens; or one of the four."""
    found = Evaluation()
    count = len(load_prompts())
    for setting in (setting for setting in SETTINGS if context.part in ("", setting.task)):
        part = _run(context, WIDE, setting.task, count, setting)
        found.samples += part.samples
        found.results += part.results
    return found


def metrics_of(answer: Generation) -> dict[str, float | None]:
    """Return the metrics of one generation: those of `judge`, whether a loop was found, and how it ended."""
    tokens = tokens_of(answer)
    judged = {
        name: None if value is None else float(value) for name, value in asdict(judge(tokens, answer.text)).items()
    }
    return {
        **judged,
        "looped": float(judged["loop_onset"] is not None),
        "finished": float(answer.finish == "eos"),
        "mean_tokens": float(len(tokens)),
    }


def _run(context: EvaluationContext, evaluator: str, task: str, count: int, setting: Setting) -> Evaluation:
    chosen = openings(context, count)
    answers = write_texts(
        context.engine, chosen, context, task, temperature=setting.temperature, new_tokens=setting.new_tokens
    )
    samples = [
        row(opening, evaluator, task, metric, value, answer)
        for opening, answer in zip(chosen, answers, strict=True)
        for metric, value in metrics_of(answer).items()
    ]
    results = scores(samples, context)
    context.task_done(task, samples, results)
    return Evaluation(samples, results)
