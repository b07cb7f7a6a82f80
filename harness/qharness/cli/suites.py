"""`qharness suites`: suites, their tasks and the data sources."""

from __future__ import annotations

import json
from typing import Any

import rich_click as click

from qharness.cli.options import host_from, json_option, plugin_switch
from qharness.host import Host
from qharness.records import DataSource, Suite


def describe(host: Host) -> dict[str, Any]:
    """Return the suites and data sources as plain data."""
    fields = ("name", "short", "kind", "dataset", "hub_id", "metric", "filter", "baseline", "sibling", "paired")
    return {
        "suites": [
            {
                "name": suite.name,
                "summary": suite.summary,
                "num_fewshot": suite.num_fewshot,
                "tasks": [{field: getattr(task, field) for field in fields} for task in suite.tasks],
                "companions": [task.name for task in suite.companions],
            }
            for suite in host.records(Suite)
        ],
        "data": [
            {"name": source.name, "summary": source.summary, "notice": source.notice}
            for source in host.records(DataSource)
        ],
    }


@click.command("suites", epilog="Examples: qharness suites; qharness suites --json")
@json_option
@plugin_switch
def command(as_json: bool, switches: tuple[str, ...]) -> None:
    """List suites, their tasks and data sources."""
    data = describe(host_from(switches))
    if as_json:
        click.echo(json.dumps(data, indent=1, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for suite in data["suites"]:
        console.print(f"[bold]{suite['name']}[/bold]  {suite['summary']}")
        table = Table("task", "kind", "metric", "official baseline", "data", box=None, pad_edge=False)
        for task in suite["tasks"]:
            baseline = "" if task["baseline"] is None else f"{100 * task['baseline']:.1f}"
            table.add_row("  " + task["name"], task["kind"], task["metric"], baseline, task["hub_id"])
        console.print(table)
        console.print()
    for source in data["data"]:
        console.print(f"--data [bold]{source['name']}[/bold]  {source['summary']}")
