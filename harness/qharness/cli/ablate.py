"""`qharness ablate`: the ablation matrix and the dose curve of one method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import rich_click as click

from qharness.cli import options
from qharness.cli.run import carry_out, plan_from
from qharness.errors import UsageError

EXAMPLES = """Examples:

qharness ablate --plugin spinquant --suite polish22-paired --num-fewshot 1 --limit 60

qharness ablate --plugin spinquant --suite polish22-paired --limit 20 --rows F,G,dose

qharness ablate --resume runs/20260101-120000-abcdef
"""


@click.command("ablate", epilog=EXAMPLES)
@click.option("--plugin", "plugins", multiple=True, metavar="NAME", help="Quantizer; one.")
@click.option(
    "--rows",
    default="",
    metavar="A,F,H4,dose",
    help="Rows to run: letters, full names, dose. [default: all that apply]",
)
@click.option(
    "--dose-limit",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Documents per task in the rows of the dose curve. [default: half of --limit]",
)
@options.evaluation_options
@options.evaluators_option(f"{options.USUAL_EVALUATORS},collapse,divergence")
@options.model_option
@options.seed_option
@options.device_options
@options.set_option
@options.calibration_options
@options.runs_option
@click.option("--resume", type=click.Path(path_type=Path), default=None, metavar="RUN", help="Continue a stopped run.")
@options.json_option
@options.plugin_switch
def command(
    rows: str,
    dose_limit: int | None,
    resume: Path | None,
    runs: Path,
    as_json: bool,
    switches: tuple[str, ...],
    **choices: Any,
) -> int:
    """Run a method with each of its parts missing: rotations, transforms, cache, and how much of a transform.

    Rows A to M: unquantized, rotated, without online transforms, not rotated, merged rotations only, as published,
    with quantized caches with and without R3. The dose curve leaves a transform out in some layers or channels.
    """
    host = options.host_from(switches)
    plan = None
    if resume is None:
        if choices["ablate"] or choices["kv_bits"] != "16":
            raise UsageError(
                "The rows of `ablate` say what is left out and which cache is used; choose them by --rows."
            )
        plan = plan_from(choices, host)
        if len(plan.plugins) != 1:
            raise UsageError(f"`ablate` takes apart one method; --plugin names {len(plan.plugins)}.")
        if dose_limit is None and plan.limit is not None:
            dose_limit = (plan.limit + 1) // 2
        plan = replace(plan, matrix={"rows": row_names(rows), "dose_limit": dose_limit})
    return carry_out(plan, host, runs, resume=resume, as_json=as_json)


def row_names(text: str) -> list[str]:
    """Return the rows that a comma-separated text names.

    Raises:
        UsageError: One is no row of any method.
    """
    from qharness.jobs.matrix import DOSE, LETTERS

    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name.lower().rstrip("0123456789").split()[0] not in (DOSE, *LETTERS.lower()):
            raise UsageError(f"--rows {name}: rows are called A to M, with a number after H to K, and {DOSE}.")
    return names
