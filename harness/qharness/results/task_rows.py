"""Rows of the comparison: every task with the cells of all configurations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qharness.records import TaskSpec
from qharness.results.measured import Identity, Measured
from qharness.results.scorer import scorer_for
from qharness.results.shape import TaskCell, TaskRow
from qharness.results.task_cells import compare_cell, empty_cell, score_cell
from qharness.statistics.holm import holm


@dataclass(frozen=True)
class Protocol:
    """What all scores of one comparison should share: few-shot count, data and template."""

    num_fewshot: int
    data: str
    template: str

    def holds(self, identity: Identity) -> bool:
        """Whether a score was measured under it."""
        return (identity.num_fewshot, identity.data, identity.template) == (self.num_fewshot, self.data, self.template)


@dataclass(frozen=True)
class Rows:
    """Task rows under the official metrics, rows under other metrics, and what was not compared."""

    tasks: list[TaskRow]
    other_metrics: list[TaskRow]
    warnings: list[str]


def main_protocol(configurations: Sequence[Measured], tasks: Sequence[TaskSpec]) -> Protocol | None:
    """Return the protocol that most of the scores of these tasks have, the baselines' first."""
    names = {spec.name for spec in tasks}
    for group in ([m for m in configurations if m.is_baseline], list(configurations)):
        counts = Counter(
            Protocol(identity.num_fewshot, identity.data, identity.template)
            for measured in group
            for identity in measured.scores
            if identity.task in names and identity.evaluator in ("mc", "gen")
        )
        if counts:
            return max(counts, key=lambda protocol: (counts[protocol], protocol.num_fewshot))
    return None


def task_rows(
    configurations: Sequence[Measured],
    baselines: Mapping[str, Measured | None],
    tasks: Sequence[TaskSpec],
    protocol: Protocol | None,
) -> Rows:
    """Build the rows of all tasks.

    Args:
        configurations: Everything that was measured.
        baselines: The baseline of each configuration by its id.
        tasks: Tasks in the order of the report.
        protocol: The main protocol; scores under another one get rows of their own.
    """
    rows, others, warnings = [], [], []
    for spec in tasks:
        identities = sorted({i for m in configurations for i in m.scores if i.task == spec.name})
        official = [i for i in identities if (i.evaluator, i.metric, i.filter) == (spec.kind, spec.metric, spec.filter)]
        official.sort(key=lambda i: not (protocol and protocol.holds(i)))
        warnings += _differing(spec, official, configurations)
        for identity in official:
            rows.append(_row(spec, identity, configurations, baselines, identity == official[0]))
        if not official:
            rows.append(_missing_row(spec, configurations, protocol))
        others += [
            _row(replace(spec, is_official=False, baseline=None), identity, configurations, baselines, True)
            for identity in identities
            if identity not in official
        ]
    _correct(rows, configurations)
    return Rows(rows, others, warnings)


def _row(
    spec: TaskSpec,
    identity: Identity,
    configurations: Sequence[Measured],
    baselines: Mapping[str, Measured | None],
    is_main: bool,
) -> TaskRow:
    scores = {m.id: m.scores[identity] for m in configurations if identity in m.scores}
    constant = next((s.result.constant for s in scores.values() if s.result.constant is not None), None)
    cells: dict[str, TaskCell] = {}
    for measured in configurations:
        score = scores.get(measured.id)
        if score is None:
            cells[measured.id] = empty_cell(_reason(measured, identity))
            continue
        baseline = baselines[measured.id]
        against = scores.get(baseline.id) if baseline else None
        if baseline is None or against is None or baseline.id == measured.id:
            cells[measured.id] = score_cell(score, constant)
        else:
            cells[measured.id] = compare_cell(score, against, spec, scorer_for([against, score]), constant)
    return {
        "task": spec.name,
        "short": spec.short if is_main else f"{spec.short} ({identity.num_fewshot}-shot, {identity.data})",
        "kind": spec.kind,
        "evaluator": identity.evaluator,
        "metric": identity.metric,
        "filter": identity.filter,
        "dataset": spec.dataset,
        "sibling": spec.sibling,
        "is_official": spec.is_official,
        "is_main": is_main,
        "baseline": spec.baseline,
        "constant": constant,
        "num_fewshot": identity.num_fewshot,
        "data": identity.data,
        "template": identity.template,
        "cells": cells,
    }


def _missing_row(spec: TaskSpec, configurations: Sequence[Measured], protocol: Protocol | None) -> TaskRow:
    identity = Identity(
        spec.kind,
        spec.name,
        spec.metric,
        spec.filter,
        protocol.num_fewshot if protocol else 0,
        protocol.data if protocol else "",
        protocol.template if protocol else "",
    )
    return _row(spec, identity, configurations, {m.id: None for m in configurations}, True)


def _reason(measured: Measured, identity: Identity) -> str:
    others = [i for i in measured.scores if i.task == identity.task and i.evaluator == identity.evaluator]
    if others:
        return f"measured differently ({_difference(others[0], identity)}), not comparable"
    return measured.reason(identity.evaluator, identity.task)


def _difference(found: Identity, wanted: Identity) -> str:
    return "; ".join(
        f"{name} {getattr(found, name) or 'none'}, not {getattr(wanted, name) or 'none'}"
        for name in Identity._fields
        if getattr(found, name) != getattr(wanted, name)
    )


def _differing(spec: TaskSpec, official: Sequence[Identity], configurations: Sequence[Measured]) -> list[str]:
    if len(official) < 2:
        return []
    warnings = []
    for measured in configurations:
        own = [i for i in official if i in measured.scores]
        if own and official[0] not in own:
            warnings.append(
                f"{spec.short}: {measured.id} was measured with {_difference(own[0], official[0])}; "
                "the scores stand in rows of their own and are not compared."
            )
    return warnings


def _correct(rows: Sequence[TaskRow], configurations: Sequence[Measured]) -> None:
    """Fill `p_holm`: the family is one configuration's official tasks under the main protocol."""
    for measured in configurations:
        cells = [row["cells"][measured.id] for row in rows if row["is_official"] and row["is_main"]]
        family = [(cell, cell["p"]) for cell in cells if cell["p"] is not None]
        if family:
            for (cell, _), adjusted in zip(family, holm([p for _, p in family]), strict=True):
                cell["p_holm"] = float(adjusted)
