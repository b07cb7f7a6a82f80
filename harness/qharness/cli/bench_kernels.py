"""`qharness bench kernels`: times of the kernels on this machine's GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from qharness.cli import options
from qharness.errors import UsageError

if TYPE_CHECKING:
    import torch

EXAMPLES = """Examples:

qharness bench kernels

qharness bench kernels --op e8p --op hyb --rows 1,16 --against ./references -o kernels.json

qharness bench kernels --model --op e8p
"""
DTYPES = ("float16", "bfloat16")


@click.command("kernels", epilog=EXAMPLES)
@click.option("--op", "ops", multiple=True, metavar="NAME", help="Operation or code; may be repeated. [default: all]")
@click.option("--rows", default="1,8,16,512", show_default=True, metavar="N,N", help="Rows of activations.")
@click.option("--dtype", type=click.Choice(DTYPES), default=DTYPES[0], show_default=True, help="Type of activations.")
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=None,
    help="Folder of Python modules that run kernels of other projects.",
)
@click.option("--model", "whole", is_flag=True, help="Decode steps of a whole model of random weights instead.")
@options.json_option
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="JSON file to write.")
def command(
    ops: tuple[str, ...],
    rows: str,
    dtype: str,
    against: Path | None,
    whole: bool,
    as_json: bool,
    output: Path | None,
) -> int:
    """Time the kernels in CUDA graphs over inputs that no cache holds, at the sizes of an 11B model.

    The exit code is 1 if some kernel fails.
    """
    import torch

    from qharness.results.environment import environment
    from qharness.results.files import write_json
    from qharness_kernels.registry import obstacle

    counts = _counts(rows)
    if reason := obstacle("cuda" if torch.cuda.is_available() else "cpu"):
        raise UsageError(f"There are no kernels to time: {reason}.")
    found = _decoding(ops, getattr(torch, dtype)) if whole else _kernels(ops, counts, getattr(torch, dtype), against)
    report = {"environment": environment(), "dtype": dtype, **found}
    if output is not None:
        write_json(output, report)
    if as_json:
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        _print(report)
    return 1 if any("error" in row for row in (*report.get("rows", ()), *report.get("decoding", ()))) else 0


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = [0]
    if min(counts) < 1:
        raise UsageError(f"--rows {text}: give positive numbers, separated by commas.")
    return counts


def _chosen(ops: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the names that `--op` asks for: a name, or an operation for all of its codes."""
    from qharness_kernels.bench.variants import VARIANTS

    chosen: list[str] = []
    for op in ops:
        matching = [name for name in known if name == op or (name in VARIANTS and VARIANTS[name].op == op)]
        if not matching:
            raise UsageError(f"There is no kernel '{op}' to time; there are {', '.join(known)}.")
        chosen += [name for name in matching if name not in chosen]
    return chosen or list(known)


def _kernels(ops: Sequence[str], rows: list[int], dtype: torch.dtype, against: Path | None) -> dict[str, Any]:
    from qharness_kernels.bench import cases, measuring, references

    chosen = list(cases.cases(_chosen(ops, cases.names()), rows))
    try:
        others = {} if against is None else references.load_references(against)
    except references.UnusableReference as error:
        raise UsageError(str(error)) from error
    return measuring.measure(chosen, others, dtype, _say)


def _decoding(ops: Sequence[str], dtype: torch.dtype) -> dict[str, Any]:
    from qharness_kernels.bench import cases, measuring
    from qharness_kernels.bench.decoder.shape import BIELIK
    from qharness_kernels.bench.variants import VARIANTS

    known = [cases.DENSE, *VARIANTS]
    chosen = _chosen(ops, known) if ops else [cases.DENSE, "e8p", "hyb", "int2", "iq2_xxs"]
    return {"shape": BIELIK._asdict(), "decoding": measuring.measure_decoding(chosen, BIELIK, dtype, _say)}


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print(report: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(str(report["environment"]["gpu"]))
    if "decoding" in report:
        shape = report["shape"]
        title = f"{shape['layers']} layers of {shape['hidden']}, {shape['context']} tokens in the cache, batch 1"
        table = Table(title=title, box=None, pad_edge=False)
        for column in ("weights", "Hadamards", "ms a token", "tokens/s"):
            table.add_column(column, justify="left" if column == "weights" else "right")
        for row in report["decoding"]:
            around = "both" if row["hadamards"] else ""
            figures = (
                (row["error"], "") if "error" in row else (f"{row['seconds'] * 1e3:.3f}", f"{1 / row['seconds']:.1f}")
            )
            table.add_row(row["name"], around, *figures)
        console.print(table)
        return
    console.print(f"copy bandwidth {report['copy_bandwidth'] / 1e9:,.0f} GB/s, activations {report['dtype']}")
    names = sorted({name for row in report["rows"] for name in row.get("references", ())})
    table = Table(box=None, pad_edge=False)
    for column in ("what", "kernel", "out x in", "rows", "us", "MB", "share", *(f"{name} us, ratio" for name in names)):
        table.add_column(column, justify="left" if column in ("what", "kernel") else "right")
    for row in report["rows"]:
        size = f"{row['out_features']}x{row['in_features']}"
        if "error" in row:
            table.add_row(row["name"], "", size, str(row["rows"]), row["error"])
            continue
        others = (
            f"{row['references'][name] * 1e6:.2f}, {row['ratios'][name]:.2f}" if name in row["references"] else ""
            for name in names
        )
        table.add_row(
            row["name"],
            row["kernel"],
            size,
            str(row["rows"]),
            f"{row['seconds'] * 1e6:.2f}",
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['share']:.0%}",
            *others,
        )
    console.print(table)
