"""`qharness report`: one HTML file for one or more runs."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from qharness.cli.options import host_from, plugin_switch


@click.command(
    "report", epilog="Examples: qharness report runs/20260101-120000-abcdef; qharness report RUN1 RUN2 -o all.html"
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="File to write.")
@plugin_switch
def command(runs: tuple[Path, ...], output: Path | None, switches: tuple[str, ...]) -> None:
    """Write the HTML report of one or more runs."""
    from qharness.jobs.conclusion import write_reports
    from qharness.results.directory import RunDirectory

    host = host_from(switches)
    opened = [RunDirectory.open(run, unfinished=True) for run in runs]
    path = write_reports(opened, host, output or opened[0].path / "report.html")
    click.echo(f"Report: {path}")
