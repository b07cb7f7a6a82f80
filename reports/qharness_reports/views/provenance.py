"""What was run, where, and by which rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qharness_reports.formats import plain
from qharness_reports.views.configurations import configurations


@dataclass(frozen=True)
class FactGroup:
    """A heading with its facts."""

    title: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RuleTable:
    """The rules of the verdicts, in the order in which they are tested."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class FailureRow:
    """A cell that could not be measured."""

    label: str
    evaluator: str
    task: str
    reason: str


@dataclass(frozen=True)
class KernelLine:
    """What served alike modules of a configuration."""

    label: str
    part: str
    modules: str
    count: int
    kernel: str
    reason: str


def headings(comparison: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Return the title of the report and the facts of its first line."""
    run = comparison.get("run", {})
    chosen = run.get("configuration", {})
    tasks = comparison.get("tasks", ())
    facts = {
        "suite": chosen.get("suites"),
        "tasks": sum(bool(task["is_official"] and task["is_main"]) for task in tasks) or None,
        "shots": sorted({task["num_fewshot"] for task in tasks}) or None,
        "data": chosen.get("data"),
        "documents a task": f"at most {chosen['limit']}" if chosen.get("limit") else "all",
        "seed": chosen.get("seed"),
        "created": str(run.get("created") or "")[:16].replace("T", " "),
        "run": run.get("run_id"),
    }
    shown = [(name, plain(value)) for name, value in facts.items() if value not in (None, "", [])]
    return str(chosen.get("model") or "qharness report"), shown


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def fact_groups(comparison: Mapping[str, Any]) -> list[FactGroup]:
    """Return run.json as groups: its plain values first, then each nested mapping."""
    run = comparison.get("run", {})
    loose = {key: value for key, value in run.items() if not isinstance(value, Mapping)}
    groups = [("Run", loose), *((key, value) for key, value in run.items() if isinstance(value, Mapping))]
    return [
        FactGroup(title.replace("_", " "), tuple((key.replace("_", " "), plain(v)) for key, v in _flat(facts).items()))
        for title, facts in groups
        if facts
    ]


def rule_table(comparison: Mapping[str, Any]) -> RuleTable:
    """Return the verdict rules as a table whatever columns they have; a rule may also be one sentence."""
    rules = [rule if isinstance(rule, Mapping) else {"rule": rule} for rule in comparison.get("rules", ())]
    columns = tuple(dict.fromkeys(key for rule in rules for key in rule))
    return RuleTable(columns, tuple(tuple(plain(rule.get(column)) for column in columns) for rule in rules))


def failure_rows(comparison: Mapping[str, Any]) -> list[FailureRow]:
    """Return the failures with the labels of their configurations."""
    labels = {config.id: config.label for config in configurations(comparison)}
    return [
        FailureRow(labels.get(row["config"], row["config"]), row["evaluator"], row["task"], row["reason"])
        for row in comparison.get("failures", ())
    ]


def kernel_rows(comparison: Mapping[str, Any]) -> list[KernelLine]:
    """Return what served the modules, with the labels of their configurations."""
    labels = {config.id: config.label for config in configurations(comparison)}
    return [
        KernelLine(
            label=labels.get(row["config"], row["config"]),
            part=row["part"],
            modules=row["modules"],
            count=row["count"],
            kernel=f"{row['kernel']} {row['op']}".strip(),
            reason=row["reason"],
        )
        for row in comparison.get("kernels", ())
    ]
