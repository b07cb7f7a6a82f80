"""What `qharness bench eval` reports: plain data with the ratios of tasks and of all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qharness.bench.agreement import Agreement
from qharness.bench.rate import Rate


@dataclass(frozen=True)
class Timing:
    """How long an implementation took for a task.

    Attributes:
        seconds: Wall-clock time from requests to answers: tokenisation and model.
        cpu_seconds: Processor time of the same.
        total_seconds: With building of prompts and metrics.
    """

    seconds: float
    cpu_seconds: float
    total_seconds: float


@dataclass(frozen=True)
class TaskFigures:
    """One engine against the reference on one task.

    Attributes:
        task: lm-eval's name.
        kind: `mc` or `gen`.
        requests: Requests asked.
        ours: Time of the engine.
        stock: Time of the reference; None where there is none.
        agreement: What the two runs have in common; None where there is no reference.
        least_tokens: Tokens that exact prefix sharing must forward.
        forwarded_tokens: Tokens that the engine fed to the model, padding included; None where it does not count.
    """

    task: str
    kind: str
    requests: int
    ours: Timing
    stock: Timing | None
    agreement: Agreement | None
    least_tokens: int
    forwarded_tokens: int | None


def task_data(figures: TaskFigures, rate: Rate | None) -> dict[str, Any]:
    """Return a task's figures with its ratios.

    `mc_ratio` and `gen_ratio` are the reference's time over ours, `bound_ratio` is our time over the time that the
    least tokens take at the model's best rate; the `_cpu` ratios are the same in processor time, which other programs
    on the machine disturb less.
    """
    data = asdict(figures)
    return data | _ratios([figures], rate) | {"scores_equal": _equal([figures])}


def overall_data(figures: Sequence[TaskFigures], rate: Rate | None) -> dict[str, Any]:
    """Return the ratios of all tasks together; `bound_ratio` is that of multiple choice."""
    kinds = {kind: [f for f in figures if f.kind == kind] for kind in ("mc", "gen")}
    data = _ratios(figures, rate)
    for name in ("bound_ratio", "bound_ratio_cpu"):
        data[f"gen_{name}"] = _ratios(kinds["gen"], rate)[name]
        data[name] = _ratios(kinds["mc"], rate)[name]
    return data | {"scores_equal": _equal(figures)}


def _ratios(figures: Sequence[TaskFigures], rate: Rate | None) -> dict[str, float | None]:
    data: dict[str, float | None] = {}
    for kind in ("mc", "gen"):
        compared = [(f.stock, f.ours) for f in figures if f.kind == kind and f.stock]
        data[f"{kind}_ratio"] = _ratio([s.seconds for s, _ in compared], [o.seconds for _, o in compared])
        data[f"{kind}_ratio_cpu"] = _ratio([s.cpu_seconds for s, _ in compared], [o.cpu_seconds for _, o in compared])
        data[f"{kind}_ratio_total"] = _ratio(
            [s.total_seconds for s, _ in compared], [o.total_seconds for _, o in compared]
        )
    tokens = sum(f.least_tokens for f in figures)
    data["bound_ratio"] = data["bound_ratio_cpu"] = None
    if rate and tokens:
        data["bound_ratio"] = sum(f.ours.seconds for f in figures) * rate.tokens_per_second / tokens
        data["bound_ratio_cpu"] = sum(f.ours.cpu_seconds for f in figures) * rate.tokens_per_cpu_second / tokens
    return data


def _ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float | None:
    return sum(numerators) / sum(denominators) if denominators and sum(denominators) > 0 else None


def _equal(figures: Sequence[TaskFigures]) -> bool | None:
    known = [f.agreement.is_equal for f in figures if f.agreement]
    return all(known) if known else None


def engine_data(figures: Sequence[TaskFigures], rate: Rate | None) -> dict[str, Any]:
    """Return the figures of an engine, by task and overall."""
    return {"tasks": {f.task: task_data(f, rate) for f in figures}, "overall": overall_data(figures, rate)}


def print_table(report: Mapping[str, Any]) -> None:
    """Print a report as tables, one for each engine."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    rate, stock = report["rate"], report["stock"]
    console.print(f"{report['model']} in {report['dtype']} on {report['device_name']}, {report['threads']} threads")
    console.print(
        f"best rate {rate['tokens_per_second']:,.0f} tokens/s ({rate['rows']} x {rate['length']}); "
        + "; ".join(f"stock hf, {kind}: batch size {found['batch_size']}" for kind, found in stock["batch"].items())
    )
    for name, engine in report["engines"].items():
        table = Table(title=f"engine {name}", box=None, pad_edge=False)
        for title in ("task", "requests", "stock s", "ours s", "ratio", "bound", "least", "forwarded", "equal"):
            table.add_column(title, justify="left" if title == "task" else "right")
        for task, data in engine["tasks"].items():
            table.add_row(
                task,
                str(data["requests"]),
                _number(data["stock"] and data["stock"]["seconds"]),
                _number(data["ours"]["seconds"]),
                _number(data[f"{data['kind']}_ratio"]),
                _number(data["bound_ratio"]),
                str(data["least_tokens"]),
                "" if data["forwarded_tokens"] is None else str(data["forwarded_tokens"]),
                str(data["scores_equal"]),
            )
        console.print(table)
        overall = engine["overall"]
        console.print(
            "overall: "
            + ", ".join(f"{key} {_number(value)}" for key, value in overall.items() if isinstance(value, float))
            + f", scores_equal {overall['scores_equal']}"
        )
    for name, reason in report["left_out"].items():
        console.print(f"{name} was not measured: {reason}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
