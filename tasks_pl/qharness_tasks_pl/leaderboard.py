"""The leaderboard's normalisation and averages; all scores and baselines are fractions, results are in percent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qharness.errors import UnknownName
from qharness.records import TaskSpec


@dataclass(frozen=True)
class Average:
    """A mean of normalised scores.

    Attributes:
        value: Mean in percent over all tasks; a missing task counts as 0.
        tasks: How many tasks it divides by.
        missing: Names of the tasks without a score.
        overridden: Official baselines that were replaced, by task name; outputs must name them.
    """

    value: float
    tasks: int
    missing: tuple[str, ...]
    overridden: dict[str, float]


def normalized(value: float, baseline: float) -> float:
    """Return the score above the baseline, in percent of what is above it; negative below the baseline.

    Source: read_evals.py of the leaderboard's space, commit 1bea7de.

    Args:
        value: Score of the official metric, 0..1.
        baseline: Official baseline of the task, 0..1.
    """
    return (value - baseline) / (1 - baseline) * 100


def average(
    scores: Mapping[str, float], tasks: Sequence[TaskSpec], baselines: Mapping[str, float] | None = None
) -> Average:
    """Return the leaderboard's average over all of `tasks`.

    Args:
        scores: Official metric by task name, as fractions; names outside `tasks` are not counted.
        tasks: Tasks of the suite; all count, scored or not.
        baselines: Baselines that replace official ones, by task name.

    Raises:
        UnknownName: `baselines` names a task outside `tasks`.
        ValueError: A task has no baseline, official or given, or there are no tasks.
    """
    overridden = dict(baselines or {})
    names = [task.name for task in tasks]
    for name in overridden:
        if name not in names:
            raise UnknownName("task", name, names)
    if not tasks:
        raise ValueError("An average needs at least one task.")
    total = 0.0
    for task in tasks:
        baseline = overridden.get(task.name, task.baseline)
        if baseline is None:
            raise ValueError(f"Task {task.name} has no official baseline; give one in `baselines`.")
        if task.name in scores:
            total += normalized(scores[task.name], baseline)
    missing = tuple(name for name in names if name not in scores)
    return Average(total / len(tasks), len(tasks), missing, overridden)


def average_mc(
    scores: Mapping[str, float], tasks: Iterable[TaskSpec], baselines: Mapping[str, float] | None = None
) -> Average:
    """Return the average over the multiple-choice tasks among `tasks`."""
    return _average_kind("mc", scores, tasks, baselines)


def average_gen(
    scores: Mapping[str, float], tasks: Iterable[TaskSpec], baselines: Mapping[str, float] | None = None
) -> Average:
    """Return the average over the generative tasks among `tasks`."""
    return _average_kind("gen", scores, tasks, baselines)


def _average_kind(
    kind: str, scores: Mapping[str, float], tasks: Iterable[TaskSpec], baselines: Mapping[str, float] | None
) -> Average:
    chosen = [task for task in tasks if task.kind == kind]
    names = {task.name for task in chosen}
    return average(scores, chosen, {name: value for name, value in (baselines or {}).items() if name in names})
