"""`qharness bench eval`: the evaluation's speed against stock lm-eval, with equal scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click

from qharness.cli import options

EXAMPLES = """Examples:

qharness bench eval --limit 20

qharness bench eval --model ./model --data ./data --tasks polish_8tags_multiple_choice,polish_8tags_regex --limit 200
"""


@click.command("eval", epilog=EXAMPLES)
@options.model_option
@click.option("--suite", default="polish22", show_default=True, metavar="NAME", help="Suite of tasks.")
@click.option("--tasks", default="", metavar="NAME,NAME", help="Tasks of the suite. [default: all]")
@click.option(
    "--data",
    default=None,
    metavar="hub|embedded|DIR",
    help="Benchmark data. [default: embedded for the demo model, else hub]",
)
@click.option("--num-fewshot", type=int, default=5, show_default=True, help="Shots in the prompt.")
@click.option("--limit", type=int, default=None, help="Documents per task. [default: all]")
@options.device_options
@click.option("--engines", default="hf", show_default=True, metavar="hf,vllm", help="Engines of ours.")
@options.json_option
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="JSON file to write.")
@options.plugin_switch
def command(
    suite: str,
    tasks: str,
    engines: str,
    as_json: bool,
    output: Path | None,
    switches: tuple[str, ...],
    **choices: Any,
) -> int:
    """Measure our engines against stock lm-eval at its best batch size: speed, the bound, and equal scores.

    Nothing is taken from a cache. The exit code is 1 if the scores of some task differ.
    """
    from qharness.bench.evaluation import EvalBench, bench_eval
    from qharness.bench.results import print_table
    from qharness.errors import UsageError, normalize_name
    from qharness.jobs.device import resolve_device, resolve_dtype
    from qharness.jobs.plan import RunPlan, check_model, default_data, model_reference
    from qharness.records import Suite
    from qharness.results.files import write_json

    host = options.host_from(switches)
    model = model_reference(choices["model"])
    check_model(model, host)
    if choices["limit"] is not None and choices["limit"] < 1:
        raise UsageError(f"--limit {choices['limit']} leaves no documents; give a number of at least 1.")
    chosen = host.get(Suite, suite)
    known = {spec.name: spec for spec in (*chosen.tasks, *chosen.companions)}
    names = [name.strip() for name in tasks.split(",") if name.strip()] or [spec.name for spec in chosen.tasks]
    for name in names:
        if name not in known:
            raise UsageError(f"The suite {suite} has no task '{name}'; it has {', '.join(known)}.")
    data = choices["data"] or default_data(model, host)
    device = resolve_device(choices["device"])
    bench = EvalBench(
        model=model,
        suite=chosen,
        tasks=[known[name] for name in names],
        data=RunPlan((), (), data=data).data_folder(host),
        num_fewshot=choices["num_fewshot"],
        limit=choices["limit"],
        device=device,
        dtype=resolve_dtype(choices["dtype"], device),
        engines=tuple(normalize_name(name) for name in engines.split(",") if name.strip()),
    )
    report = bench_eval(bench, host, lambda line: click.echo(line, err=True))
    if output is not None:
        write_json(output, report)
    if as_json:
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        print_table(report)
    return 1 if any(engine["overall"]["scores_equal"] is False for engine in report["engines"].values()) else 0
