"""The command line: one module a command, imported only when its command runs."""

from __future__ import annotations

import sys

from qharness.errors import QharnessError


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 some cell failed, 2 usage."""
    import click

    from qharness.cli.group import cli

    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = cli.main(args=arguments, prog_name="qharness", standalone_mode=False)
    except QharnessError as error:
        if debug:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. What is finished is kept; continue with `qharness run --resume RUN`.", err=True)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
