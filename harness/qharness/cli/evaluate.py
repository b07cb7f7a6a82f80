"""`qharness eval`: evaluate one model or artifact as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from qharness.cli import options
from qharness.cli.run import carry_out, plan_from


@click.command(
    "eval",
    epilog="Examples: qharness eval demo --suite polish22-mc --limit 20; "
    "qharness eval ./my-artifact --suite polish22 --ablate r4",
)
@click.argument("reference")
@options.evaluation_options
@options.evaluators_option(options.USUAL_EVALUATORS)
@options.device_options
@options.runs_option
@options.json_option
@options.plugin_switch
def command(reference: str, runs: Path, as_json: bool, switches: tuple[str, ...], **choices: Any) -> int:
    """Evaluate a model or an artifact on a suite."""
    host = options.host_from(switches)
    plan = plan_from({**choices, "model": reference}, host)
    return carry_out(plan, host, runs, resume=None, as_json=as_json)
