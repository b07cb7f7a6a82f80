"""`qharness plan`: time, memory, disk and price of a run before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click

from qharness.cli import options
from qharness.cli.run import plan_from
from qharness.errors import UsageError

EXAMPLES = """Examples:

qharness plan --plugin spinquant --suite polish22

qharness plan --plugin quip_sharp --suite polish22 --model speakleash/Bielik-11B-v2.3-Instruct --price 2.5
"""


@click.command("plan", epilog=EXAMPLES)
@click.option("--plugin", "plugins", multiple=True, metavar="NAME", help="Quantizer, or `all`; may be repeated.")
@options.evaluation_options
@options.evaluators_option(options.USUAL_EVALUATORS)
@options.model_option
@options.seed_option
@options.seeds_option
@options.device_options
@options.set_option
@options.calibration_options
@options.calibrations_option
@options.runs_option
@click.option(
    "--survey", type=int, default=16, show_default=True, help="Documents of each task whose requests are built."
)
@click.option("--price", type=float, default=None, metavar="DOLLARS", help="What all machines of the run cost an hour.")
@options.json_option
@options.plugin_switch
def command(
    runs: Path, survey: int, price: float | None, as_json: bool, switches: tuple[str, ...], **choices: Any
) -> int:
    """Tell how long a run will take, and its memory, disk space and price; takes the options of `run`.

    Counts the tokens of a few documents of each task, times a few batches of the unquantized model, and extrapolates.
    Writes nothing.
    """
    from qharness.jobs.planning import plan_run
    from qharness.jobs.progress import Reporter

    if survey < 1 or (price is not None and price < 0):
        raise UsageError("--survey takes a number of at least 1, --price one of at least 0.")
    host = options.host_from(switches)
    plan = plan_from(choices, host)
    with Reporter(1, quiet=True) as reporter:
        found = plan_run(plan, host, runs, reporter, survey, price)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        _show(found)
    return 0


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from qharness.jobs.progress import spoken

    steps = Table("evaluator", "task", box=None, title="For each configuration", title_justify="left")
    for name in ("documents", "requests", "tokens read", "written", "time"):
        steps.add_column(name, justify="right")
    for step in found["steps"]:
        counts = (step[name] for name in ("documents", "requests", "prefill_tokens", "decode_tokens"))
        steps.add_row(step["evaluator"], step["task"], *(f"{n:,}" for n in counts), spoken(step["seconds"]))
    console = Console()
    console.print(steps)
    rates = found["rates"]
    click.echo(
        f"Rates:   {rates['prefill']:,.0f} tokens/s read, {rates['decode']:,.0f} written, "
        f"measured on {rates['batches']} batches; {found['workers']} worker{'s' if found['workers'] > 1 else ''}"
    )
    for configuration in found["configurations"]:
        click.echo(f"         {configuration['config']}: {spoken(configuration['seconds'])} of one worker")
    for artifact in found["artifacts"]:
        taken = "time unknown" if artifact["seconds"] is None else spoken(artifact["seconds"])
        click.echo(f"         quantize with {artifact['plugin']}: {taken}")
    how = "measured" if found["memory_measured"] else "weights and key-value slots"
    click.echo(f"Time:    {spoken(found['seconds'])}")
    click.echo(f"Memory:  {found['memory_bytes'] / 2**30:.2f} GiB a worker ({how})")
    click.echo(f"Disk:    {found['disk_bytes'] / 2**30:.2f} GiB")
    if found["price"] is not None:
        click.echo(f"Price:   ${found['price']:.2f}")
    for note in found["notes"]:
        click.echo(f"NOTE: {note}")
