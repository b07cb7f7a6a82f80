"""`qharness doctor`: checks of this environment, with a remedy for each problem."""

from __future__ import annotations

import json

import rich_click as click

from qharness.cli.options import host_from, json_option, plugin_switch
from qharness.records import CheckResult, DoctorCheck


@click.command("doctor", epilog="Example: qharness doctor")
@json_option
@plugin_switch
def command(as_json: bool, switches: tuple[str, ...]) -> int:
    """Check this environment, with a remedy for each problem."""
    host = host_from(switches)
    results: dict[str, CheckResult] = {}
    for status in host.status:
        if status.state == "failed":
            remedy = f"update or uninstall {status.distribution}, or disable it with `-p no:{status.name}`"
            results[f"plugin {status.name}"] = CheckResult(False, status.error, remedy)
    for check in host.records(DoctorCheck):
        try:
            results[check.name] = check.run()
        except Exception as error:
            results[check.name] = CheckResult(False, f"the check itself failed: {error}")
    if as_json:
        rows = {name: {"ok": r.ok, "detail": r.detail, "remedy": r.remedy} for name, r in results.items()}
        click.echo(json.dumps(rows, indent=1))
    else:
        for name, result in results.items():
            click.echo(f"{'ok ' if result.ok else 'BAD'}  {name}: {result.detail}")
            if result.remedy and not result.ok:
                click.echo(f"     {result.remedy}")
    return 0 if all(result.ok for result in results.values()) else 1
