"""A run as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qharness.results.directory import RunDirectory
from qharness.results.kernels import kernel_lines
from qharness.results.matrix import bounds, matrix_finding, matrix_lines
from qharness.results.verdict_tables import evidence_table, matrix_table, rules_table, verdict_text
from qharness.serving.base import REFERENCE

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

LEGEND = (
    "Percent of the task's metric. * differs from the baseline after Holm's correction (5 %); "
    "° not above the best constant answer, so no evidence; - not measured."
)
SEEDS_FIGURES = {"r_mc": "r MC", "r_gen": "r GEN", "index": "index"}
NAME_WIDTH, CONFIGURATION_WIDTH = 20, 24


def print_run(run: RunDirectory, console: Console) -> None:
    """Print what a run found: scores, averages, verdicts with reasons, and what is missing."""
    comparison = run.comparison()
    if comparison is None:
        if run.notice:
            console.print(f"NOTE: {run.notice}", style="bold", markup=False)
        console.print(scores_table(run.result_rows()))
        for line in failure_lines(run.failures()):
            console.print(line, style="red", markup=False)
        return
    for renderable in comparison_tables(comparison, console.width):
        console.print(renderable)


def comparison_tables(comparison: Mapping[str, Any], width: int) -> list[RenderableType]:
    """Return everything of a comparison that a terminal of this many columns shows, in order."""
    from rich.text import Text

    parts: list[RenderableType] = []
    if comparison["notice"]:
        parts.append(Text(f"NOTE: {comparison['notice']}", style="bold"))
    lines = matrix_lines(comparison)
    if lines:
        parts += [matrix_table(lines), evidence_table(lines), rules_table(comparison["rules"])]
        parts.append(Text(matrix_finding(lines), style="bold"))
        parts += [Text(line, style="red") for line in failure_lines(comparison["failures"])]
        return parts
    configurations = comparison["configurations"]
    side_by_side = max(1, (width - NAME_WIDTH) // CONFIGURATION_WIDTH)
    for start in range(0, len(configurations), side_by_side):
        parts.append(pairs_table(comparison, configurations[start : start + side_by_side]))
    parts += [Text(LEGEND, style="dim"), averages_table(comparison)]
    names = {c["id"]: c["label"] for c in configurations}
    for verdict in comparison["verdicts"]:
        reason = f". {verdict['evidence'].get('reason', '')}"
        parts.append(Text.assemble(f"{names[verdict['config']]}: ", verdict_text(verdict["verdict"]), reason))
    parts += [Text(seeds_line(row)) for row in comparison.get("seeds", ())]
    if comparison["verdicts"]:
        parts.append(rules_table(comparison["rules"]))
    served = [row for row in comparison.get("kernels", ()) if row["kernel"] != REFERENCE or row["reason"]]
    parts += [Text(f"Kernels of {line}", style="dim") for line in kernel_lines(served)]
    parts += [Text(line, style="red") for line in failure_lines(comparison["failures"])]
    parts += [Text(f"Note: {warning}", style="dim") for warning in comparison["warnings"]]
    return parts


def pairs_table(comparison: Mapping[str, Any], configurations: Sequence[Mapping[str, Any]]) -> Table:
    """Return the scores: a row for each data set, multiple choice next to generation for each configuration."""
    from rich.table import Table

    rows = comparison["tasks"]
    has_text = any(not row["is_official"] for row in rows)
    kinds = ["MC", "GEN", "text"] if has_text else ["MC", "GEN"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True, min_width=NAME_WIDTH - 2)
    for configuration in configurations:
        for kind in kinds:
            title = f"{configuration['label']}\n{kind}" if kind == "MC" else f"\n{kind}"
            table.add_column(title, justify="right")
    for name, group in _groups(rows):
        cells = [_cell(group[kind], configuration["id"]) for configuration in configurations for kind in kinds]
        table.add_row(name, *cells)
    return table


def seeds_line(row: Mapping[str, Any]) -> str:
    """Return one sentence on several quantizations of one method."""
    verdict = row["verdict"].replace("_", " ")
    known = {title: row[name] for name, title in SEEDS_FIGURES.items() if row[name]}
    figures = ", ".join(f"{title} {mean:.2f} [{low:.2f}, {high:.2f}]" for title, (mean, low, high) in known.items())
    about = f" ({figures}, variance between quantizations included)" if figures else ""
    return f"{row['plugin']}, {len(row['seeds'])} quantizations together{about}: {verdict}. {row['reason']}"


def averages_table(comparison: Mapping[str, Any]) -> Table:
    """Return normalised averages, retentions and the other figures behind the verdict, a row for each configuration."""
    from rich.table import Table

    titles = ("", "MC avg", "GEN avg", "all", "missing", "r MC", "r GEN", "index", "decode=", "loops", "bits/w")
    table = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    bits = {a.get("digest") or a["plugin"]: a.get("stored_bpw") for a in comparison["artifacts"]}
    for configuration in comparison["configurations"]:
        key = configuration["id"]
        average, summary = comparison["averages"][key], comparison["summary"][key]
        missing = average["missing_mc"] + average["missing_gen"]
        table.add_row(
            configuration["label"],
            *(_number(average[name], 1) for name in ("mc", "gen", "all")),
            str(missing) if missing else "",
            *(bounds(summary, name) for name in ("r_mc", "r_gen", "index")),
            _number(summary["decode_agreement"], 2),
            _number(summary["degenerate_rate"], 2),
            _number(bits.get(configuration["artifact_digest"], bits.get(configuration["plugin"])), 2),
        )
    return table


def scores_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return results one below the other, as far as a run has got."""
    from rich.table import Table

    table = Table("configuration", "evaluator", "task", "metric", "shots", "n", "value", box=None, pad_edge=False)
    for row in rows:
        shots, n = str(row["num_fewshot"]), str(row["n"])
        value = f"{row['value']:.4f}"
        table.add_row(row["config"], row["evaluator"], row["task"], row["metric"], shots, n, value)
    return table


def failure_lines(failures: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each reason, naming everything that failed for it."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for failure in failures:
        what = f"{failure['evaluator']} {failure['task']}".strip()
        reasons.setdefault(failure["reason"], {}).setdefault(failure["config"], []).append(what)
    return [
        "; ".join(f"{config}: {', '.join(dict.fromkeys(whats))}" for config, whats in found.items())
        + f" failed: {reason}"
        for reason, found in reasons.items()
    ]


def _groups(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, dict[str, Mapping[str, Any] | None]]]:
    """Group the rows of a data set: a multiple-choice task, its sibling and its text-answer variant."""
    groups: dict[str, dict[str, Mapping[str, Any] | None]] = {}
    for row in rows:
        column = ("MC" if row["kind"] == "mc" else "GEN") if row["is_official"] else "text"
        anchor = row["task"] if column == "MC" or not row["sibling"] else row["sibling"]
        protocol = f"{anchor}/{row['num_fewshot']}/{row['data']}/{row['template']}"
        groups.setdefault(protocol, {"MC": None, "GEN": None, "text": None})[column] = row
    return [(_title(group), group) for group in groups.values()]


def _title(group: Mapping[str, Mapping[str, Any] | None]) -> str:
    row = next(row for row in group.values() if row is not None)
    name = str(row["short"])
    for ending in ("_mc", "_g", "_text"):
        name = name.removesuffix(ending)
    return name


def _cell(row: Mapping[str, Any] | None, configuration: str) -> str:
    if row is None:
        return ""
    cell = row["cells"][configuration]
    if cell["value"] is None:
        return "-"
    star = "*" if cell["p_holm"] is not None and cell["p_holm"] < 0.05 else ""
    return f"{100 * cell['value']:.1f}{star}{'°' if cell['no_evidence'] else ''}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
