"""The group of all commands; nothing of a command is imported before it is needed."""

from __future__ import annotations

from importlib import import_module

import rich_click as click

from qharness import __version__
from qharness.errors import UnknownName

COMMANDS: dict[str, str] = {
    "run": "run",
    "ablate": "ablate",
    "quantize": "quantize",
    "eval": "evaluate",
    "plan": "plan",
    "hessians": "hessians",
    "export": "export",
    "bench": "bench",
    "show": "show",
    "report": "report",
    "query": "query",
    "plugins": "plugins",
    "suites": "suites",
    "doctor": "doctor",
}
"""Command name -> module of this package that holds it, as attribute `command`."""


class LazyGroup(click.RichGroup):
    """A group whose commands are imported when they are called or listed; their modules are light."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Import the module of a command and return the command.

        Raises:
            UnknownName: There is no such command.
        """
        if cmd_name not in COMMANDS:
            raise UnknownName("command", cmd_name, COMMANDS)
        command: click.Command = import_module(f"qharness.cli.{COMMANDS[cmd_name]}").command
        return command


@click.group(cls=LazyGroup, epilog="Example: qharness run --plugin spinquant --suite polish22")
@click.version_option(__version__, prog_name="qharness")
def cli() -> None:
    """Quantize language models to about 2 bits, and see what they can still rank and what they can still write.

    `--debug` after any command shows the traceback of an error.
    """
