"""`qharness show`: a run's scores, verdicts and artifacts."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from qharness.cli.options import json_option


@click.command("show", epilog="Examples: qharness show runs/20260101-120000-abcdef; qharness show RUN --json")
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def command(run: Path, as_json: bool) -> None:
    """Show a run: scores, verdicts, artifacts."""
    from qharness.results.directory import RunDirectory

    directory = RunDirectory.open(run, unfinished=True)
    if as_json:
        from qharness.results.show import show

        click.echo(json.dumps(show(directory), ensure_ascii=False, indent=1))
        return
    from rich.console import Console

    from qharness.results.tables import print_run

    print_run(directory, Console())
