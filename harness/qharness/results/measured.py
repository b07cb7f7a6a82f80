"""What was measured: stored tasks of one or more runs, by configuration, with their documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qharness.results.directory import RunDirectory
from qharness.results.identity import BASELINE, is_baseline
from qharness.results.parts import Part, read_samples
from qharness.results.schema import Cell, Result

if TYPE_CHECKING:
    from qharness.results.shape import Failure


class Identity(NamedTuple):
    """What two scores must share to stand in one column."""

    evaluator: str
    task: str
    metric: str
    filter: str
    num_fewshot: int
    data: str
    template: str


@dataclass(frozen=True)
class Documents:
    """Sample rows of one task under one metric, as arrays of equal length; sorted by document."""

    doc_id: NDArray[np.int64]
    doc_hash: NDArray[np.object_]
    prompt_hash: NDArray[np.object_]
    cluster: NDArray[np.object_]
    value: NDArray[np.float64]
    gold: NDArray[np.object_]
    prediction: NDArray[np.object_]
    response: NDArray[np.object_]
    tokens: NDArray[np.int64]
    choice_logprobs: NDArray[np.object_]

    def take(self, index: NDArray[np.int64]) -> Documents:
        """Return the rows of the index."""
        return Documents(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})

    def __len__(self) -> int:
        return len(self.doc_id)


@dataclass(frozen=True)
class Measurement:
    """One score of one configuration, with a way to its documents."""

    identity: Identity
    result: Result
    part: Part

    @cached_property
    def documents(self) -> Documents:
        """Its documents, read when first asked for."""
        return _documents(self.part, self.result.metric, self.result.filter)


@dataclass(frozen=True)
class Measured:
    """One configuration and everything measured on it.

    Attributes:
        id: Key of the configuration in the comparison.
        cell: Its identity.
        run: Run that it comes from.
        template: How prompts were wrapped: empty, or the chat template and system prompt.
        scores: Its scores.
        failures: Why others are missing.
    """

    id: str
    cell: Cell
    run: RunDirectory
    template: str
    scores: Mapping[Identity, Measurement]
    failures: tuple[Failure, ...]

    @property
    def is_baseline(self) -> bool:
        """Whether the others are compared with it."""
        return is_baseline(self.cell)

    def of(self, evaluator: str, task: str | None = None) -> list[Measurement]:
        """Return the scores of one evaluator, on one task or all."""
        return [
            m for m in self.scores.values() if m.identity.evaluator == evaluator and task in (None, m.identity.task)
        ]

    def reason(self, evaluator: str, task: str) -> str:
        """Return why a task has no score."""
        for failure in self.failures:
            if failure["task"] == task and failure["evaluator"] == evaluator:
                return failure["reason"]
        for failure in self.failures:
            if not failure["task"]:
                return failure["reason"]
        return "not measured" if self.run.is_finished else "not measured yet"


def collect(runs: Sequence[RunDirectory]) -> list[Measured]:
    """Gather the configurations of the runs, baselines first.

    A baseline that several runs share (same digest and settings) is one configuration; another
    configuration whose name is taken gets the name of its run as a suffix.
    """
    found: dict[str, Measured] = {}
    for run in runs:
        for measured in _of_run(run):
            key = measured.id
            taken = found.get(key)
            if taken and taken.cell == measured.cell and taken.template == measured.template:
                found[key] = replace(taken, scores={**measured.scores, **taken.scores})
                continue
            if taken:
                key = f"{key}@{run.run_id}"
            found[key] = replace(measured, id=key)
    return sorted(found.values(), key=lambda measured: not measured.is_baseline)


def baseline_of(measured: Measured, everything: Sequence[Measured]) -> Measured | None:
    """Return the unquantized model to compare with: from the same run and the same conditions if there is one."""
    candidates = [other for other in everything if other.cell.plugin == BASELINE and not other.cell.ablation]

    def likeness(other: Measured) -> tuple[bool, ...]:
        same = [getattr(other.cell, name) == getattr(measured.cell, name) for name in ("model", "dtype", "engine")]
        return (other.is_baseline, *same, other.run.run_id == measured.run.run_id)

    return max(candidates, key=likeness, default=None)


def template_of(configuration: Mapping[str, Any]) -> str:
    """Return how prompts are wrapped in a run: empty for plain prompts."""
    chat = "chat template" if configuration.get("chat_template") else ""
    system = configuration.get("system")
    return ", ".join(part for part in (chat, f"system prompt: {system}" if system else "") if part)


def _of_run(run: RunDirectory) -> list[Measured]:
    template = template_of(run.info["configuration"])
    cells: dict[str, Cell] = {}
    scores: dict[str, dict[Identity, Measurement]] = {}
    for part in run.parts():
        key = run.config_id(part.cell)
        cells[key] = part.cell
        for result in part.results:
            identity = Identity(
                part.key.evaluator, result.task, result.metric, result.filter, result.num_fewshot, result.data, template
            )
            scores.setdefault(key, {})[identity] = Measurement(identity, result, part)
    failures: dict[str, list[Failure]] = {}
    for row in run.failures():
        cells.setdefault(row["config"], Cell(**{**row["cell"], "ablation": tuple(row["cell"]["ablation"])}))
        failure: Failure = {
            "config": row["config"], "evaluator": row["evaluator"], "task": row["task"], "reason": row["reason"],
        }  # fmt: skip
        failures.setdefault(row["config"], []).append(failure)
    return [
        Measured(key, cell, run, template, scores.get(key, {}), tuple(failures.get(key, ())))
        for key, cell in sorted(cells.items(), key=lambda item: _rank(item[0], item[1], run))
    ]


def _rank(key: str, cell: Cell, run: RunDirectory) -> tuple[int, int, int, str]:
    """Plugins in the order in which they were asked for, each followed by its ablations and smaller caches."""
    plugins = list(run.info["configuration"].get("plugins", ()))
    place = plugins.index(cell.plugin) if cell.plugin in plugins else len(plugins)
    return place, len(cell.ablation), -cell.kv_bits, key


def _documents(part: Part, metric: str, filter: str) -> Documents:
    import pyarrow.compute as pc

    table = read_samples(part.path, ["metric", "filter", *Documents.__dataclass_fields__])
    table = table.filter(pc.and_(pc.equal(table["metric"], metric), pc.equal(table["filter"], filter)))
    table = table.sort_by("doc_id")

    columns: dict[str, Any] = {name: table[name].to_numpy() for name in ("doc_id", "value", "tokens")}
    for name in ("doc_hash", "prompt_hash", "cluster", "gold", "prediction", "response", "choice_logprobs"):
        columns[name] = np.empty(len(table), dtype=object)
        columns[name][:] = table[name].to_pylist()
    return Documents(**columns)
