"""`qharness run`: quantize, evaluate next to the baseline, judge, report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click

from qharness.cli import options
from qharness.errors import UsageError, normalize_name
from qharness.host import Host

EXAMPLES = """Examples:

qharness run --plugin spinquant --suite polish22

qharness run --plugin spinquant --plugin rtn --suite polish22 --limit 25 --ablate r4

qharness run --plugin rtn --suite polish22 --model speakleash/Bielik-11B-v2.3-Instruct

qharness run --resume runs/20260101-120000-abcdef
"""


@click.command("run", epilog=EXAMPLES)
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
@click.option("--resume", type=click.Path(path_type=Path), default=None, metavar="RUN", help="Continue a stopped run.")
@click.option("--offer-open", is_flag=True, help="Offer to open the report at the end.")
@options.json_option
@options.plugin_switch
def command(
    resume: Path | None, runs: Path, offer_open: bool, as_json: bool, switches: tuple[str, ...], **choices: Any
) -> int:
    """Quantize, evaluate next to the unquantized baseline, and report.

    Everything finished is kept: a stopped run goes on with `--resume RUN`.
    """
    host = options.host_from(switches)
    plan = None if resume else plan_from(choices, host)
    return carry_out(plan, host, runs, resume=resume, as_json=as_json, offer_open=offer_open)


def plan_from(choices: dict[str, Any], host: Host) -> Any:
    """Return the checked plan of the command line's choices.

    Raises:
        UsageError: Something needed is missing, unknown or contradictory.
    """
    from qharness.jobs.device import resolve_device, resolve_dtype
    from qharness.jobs.parsing import parse_calibrations, parse_settings, parse_shots
    from qharness.jobs.plan import RunPlan, check_model, default_data, model_reference, resolve_plugins
    from qharness.records import ExecutorRecord, RuntimeTransformRecord
    from qharness.transforms.ablation import Ablation

    if not choices["suites"]:
        raise UsageError("Name a suite with --suite; `qharness suites` lists them.")
    model = model_reference(choices["model"])
    plugins = resolve_plugins(choices.get("plugins", ()), host)
    ablations = [Ablation.parse(text) for text in choices["ablate"]]
    for ablation in ablations:
        host.get(RuntimeTransformRecord, ablation.id)
    check_model(model, host)
    evaluators = tuple(normalize_name(name) for name in choices["evaluators"].split(",") if name.strip())
    if choices["perplexity"] and "perplexity" not in evaluators:
        evaluators += ("perplexity",)
    executor = normalize_name(choices["executor"])
    device = resolve_device(choices["device"], elsewhere=host.get(ExecutorRecord, executor).is_remote)
    plan = RunPlan(
        plugins=plugins,
        suites=tuple(dict.fromkeys(name.strip().lower() for name in choices["suites"])),
        tasks=tuple(name.strip() for name in choices["tasks"].split(",") if name.strip()),
        model=model,
        data=choices["data"] or default_data(model, host),
        evaluators=evaluators,
        perplexity=choices["perplexity"],
        calibrations=parse_calibrations(choices.get("calibrations", ())),
        num_fewshot=parse_shots(choices["num_fewshot"]),
        limit=choices["limit"],
        seed=choices.get("seed", 0),
        seeds=choices.get("seeds", 1),
        engine=normalize_name(choices["engine"]),
        executor=executor,
        workers=choices["workers"],
        ray_address=choices["ray_address"],
        chunk_tokens=choices["chunk_tokens"],
        kernels=choices["kernels"],
        kv_bits=int(choices["kv_bits"]),
        kv_prefill=choices["kv_prefill"],
        device=device,
        dtype=resolve_dtype(choices["dtype"], device),
        ablate=tuple(map(str, ablations)),
        chat_template=choices["chat_template"],
        system=choices["system"],
        settings=parse_settings(choices.get("settings", ())),
        texts=tuple(choices.get("texts", ())),
        calibration_samples=choices.get("calibration_samples"),
        calibration_length=choices.get("calibration_length"),
        hessians=str(choices["hessians"]) if choices.get("hessians") else None,
    )
    plan.check(host)
    return plan


def carry_out(
    plan: Any, host: Host, runs: Path, *, resume: Path | None, as_json: bool, offer_open: bool = False
) -> int:
    """Run or resume a plan, print what it found, and return the exit code."""
    from qharness.jobs.plan import RunPlan
    from qharness.jobs.run import execute, start_run
    from qharness.results.directory import RunDirectory
    from qharness.results.show import show

    if resume is not None:
        run = RunDirectory.open(resume, unfinished=True)
        plan = RunPlan.from_json(run.info["configuration"])
        plan.check(host)
        run.reopen()
    else:
        run = start_run(plan, host, runs)
    if not as_json:
        _announce(plan, run)
    outcome = execute(plan, host, run, quiet=as_json)
    if as_json:
        click.echo(json.dumps(show(run), ensure_ascii=False, indent=1))
    else:
        _conclude(outcome, offer_open)
    return 1 if outcome.failed else 0


def _announce(plan: Any, run: Any) -> None:
    limit = f"{plan.limit} documents a task" if plan.limit else "all documents"
    click.echo(f"Model {plan.model}, data {plan.data}, {limit}; run {run.path}", err=True)
    if run.notice:
        click.echo(f"NOTE: {run.notice}.", err=True)


def _conclude(outcome: Any, offer_open: bool) -> None:
    import sys

    from rich.console import Console

    from qharness.results.tables import print_run

    print_run(outcome.run, Console())
    if outcome.report is None:
        return
    click.echo(f"Report: {outcome.report}")
    if offer_open and sys.stdin.isatty() and click.confirm("Open it now?", default=True):
        click.launch(str(outcome.report))
