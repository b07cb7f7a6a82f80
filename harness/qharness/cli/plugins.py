"""`qharness plugins`: what is installed, what it offers, and what failed to load."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import rich_click as click

from qharness.cli.options import host_from, json_option, plugin_switch
from qharness.errors import PluginError
from qharness.host import NOUNS, Host


def describe(host: Host) -> dict[str, Any]:
    """Return the plugins and their offers as plain data."""
    offers = [
        {"plugin": offer.plugin, "kind": NOUNS[kind], "name": name, "summary": getattr(offer.record, "summary", "")}
        for kind in NOUNS
        for name, offer in sorted(host.offers(kind).items())
    ]
    return {"plugins": [asdict(status) for status in host.status], "offers": offers}


@click.command("plugins", epilog="Examples: qharness plugins; qharness plugins --check; qharness plugins -p no:demo")
@click.option("--check", is_flag=True, help="Exit with 1 if an installed plugin cannot be loaded.")
@json_option
@plugin_switch
def command(check: bool, as_json: bool, switches: tuple[str, ...]) -> None:
    """List plugins and what they offer."""
    host = host_from(switches)
    data = describe(host)
    failed = [status for status in host.status if status.state == "failed"]
    if as_json:
        click.echo(json.dumps(data, indent=1))
    else:
        _print(data)
    if check and failed:
        raise PluginError("; ".join(f"plugin '{status.name}' cannot be loaded: {status.error}" for status in failed))


def _print(data: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    installed = Table("plugin", "distribution", "version", "state", box=None, pad_edge=False)
    for plugin in data["plugins"]:
        state = plugin["state"] + (f": {plugin['error']}" if plugin["error"] else "")
        installed.add_row(plugin["name"], plugin["distribution"], plugin["version"], state)
    console.print(installed)
    console.print()
    offers = Table("kind", "name", "plugin", "summary", box=None, pad_edge=False)
    for offer in data["offers"]:
        offers.add_row(offer["kind"], offer["name"], offer["plugin"], offer["summary"])
    console.print(offers)
