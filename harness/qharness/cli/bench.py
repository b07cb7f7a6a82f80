"""`qharness bench`: measurements of speed, a subcommand each, imported only when it runs."""

from __future__ import annotations

from importlib import import_module

import rich_click as click

from qharness.errors import UnknownName

COMMANDS: dict[str, str] = {"eval": "bench_eval", "kernels": "bench_kernels"}
"""Subcommand -> module of this package that holds it, as attribute `command`."""


class BenchGroup(click.RichGroup):
    """A group whose commands are imported when they are called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Import the module of a subcommand and return the command.

        Raises:
            UnknownName: There is no such subcommand.
        """
        if cmd_name not in COMMANDS:
            raise UnknownName("benchmark", cmd_name, COMMANDS)
        command: click.Command = import_module(f"qharness.cli.{COMMANDS[cmd_name]}").command
        return command


@click.group("bench", cls=BenchGroup, epilog="Example: qharness bench eval --limit 20")
def command() -> None:
    """Measure speed on this machine."""
