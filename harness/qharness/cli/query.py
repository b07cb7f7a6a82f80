"""`qharness query`: SQL over all runs."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from qharness.cli.options import json_option, runs_option


@click.command(
    "query", epilog="Example: qharness query \"select plugin, task, value from results where metric = 'acc'\""
)
@click.argument("sql")
@runs_option
@json_option
def command(sql: str, runs: Path, as_json: bool) -> None:
    """Ask all runs in SQL (DuckDB); the tables are `samples`, `results` and `runs`."""
    from qharness.results.query import find_runs, query

    answer = query(sql, find_runs(runs))
    if as_json:
        click.echo(json.dumps(answer.records(), ensure_ascii=False, default=str, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*answer.columns, box=None, pad_edge=False)
    for row in answer.rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console().print(table)
