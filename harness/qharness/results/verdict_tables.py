"""Verdicts on the terminal: each with its evidence, and the rules that they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qharness.results.matrix import MatrixLine, bounds

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

COLOURS = {
    "healthy": "green", "uniform_damage": "yellow", "dissociated": "magenta", "collapsed": "red",
    "cache_path_fault": "red", "inconclusive": "bright_black",
}  # fmt: skip
RULES_TITLE = "Verdict rules, tested in this order; bounds are those of 95 % intervals"


def matrix_table(lines: Sequence[MatrixLine]) -> Table:
    """Return the ablation matrix: a line for each row, with its verdict and the figures behind it."""
    from rich.table import Table

    titles = ("row", "verdict", "r MC", "r GEN", "index", "decode=", "degen.", "KL")
    table = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for line in lines:
        table.add_row(
            line.row,
            verdict_text(line.verdict),
            *(bounds(line.summary, name) for name in ("r_mc", "r_gen", "index")),
            *(_number(line.summary.get(name)) for name in ("decode_agreement", "degenerate_rate", "kl")),
        )
    return table


def evidence_table(lines: Sequence[MatrixLine]) -> Table:
    """Return what each row of the ablation matrix runs and why it got its verdict."""
    from rich.table import Table
    from rich.text import Text

    table = Table("row", "what runs", "evidence", box=None, pad_edge=False, header_style="bold")
    for line in lines:
        table.add_row(line.row, line.purpose, Text(line.reason))
    return table


def rules_table(rules: Sequence[Mapping[str, Any]]) -> Table:
    """Return the verdict rules with their thresholds, in the order in which they are tested."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "verdict", "when", title=RULES_TITLE, title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    for rule in rules:
        table.add_row(verdict_text(rule["name"]), Text(condition_text(rule)))
    return table


def condition_text(rule: Mapping[str, Any]) -> str:
    """Return the condition of a rule with its thresholds in figures."""
    text: str = rule["condition"]
    for name, value in rule["thresholds"].items():
        text = text.replace(f"`{name}`", f"{value:g}")
    return text


def verdict_text(verdict: str) -> Text:
    """Return a verdict in words and in its colour."""
    from rich.text import Text

    return Text(verdict.replace("_", " "), style=COLOURS.get(verdict, ""))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
