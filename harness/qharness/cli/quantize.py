"""`qharness quantize`: one artifact, without an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click

from qharness.cli import options


@click.command(
    "quantize",
    epilog="Examples: qharness quantize --plugin rtn --out rtn-demo; "
    "qharness quantize --plugin spinquant --set spinquant.group_size=128 --model ./model --text file:a.txt --out DIR",
)
@click.option("--plugin", required=True, metavar="NAME", help="Quantizer.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the artifact.")
@options.model_option
@options.seed_option
@options.device_options
@options.set_option
@options.calibration_options
@options.runs_option
@options.json_option
@options.plugin_switch
def command(plugin: str, out: Path, runs: Path, as_json: bool, switches: tuple[str, ...], **choices: Any) -> None:
    """Quantize a model into an artifact."""
    from qharness.jobs.artifacts import build_artifact
    from qharness.jobs.configurations import ArtifactSpec
    from qharness.jobs.device import resolve_device, resolve_dtype
    from qharness.jobs.parsing import parse_settings
    from qharness.jobs.plan import RunPlan, check_model, model_reference, resolve_plugins
    from qharness.jobs.progress import Reporter

    host = options.host_from(switches)
    model = model_reference(choices["model"])
    names = resolve_plugins((plugin,), host)
    check_model(model, host)
    device = resolve_device(choices["device"])
    plan = RunPlan(
        plugins=names,
        suites=(),
        model=model,
        seed=choices["seed"],
        device=device,
        dtype=resolve_dtype(choices["dtype"], device),
        settings=parse_settings(choices["settings"]),
        texts=choices["texts"],
        calibration_samples=choices["calibration_samples"],
        calibration_length=choices["calibration_length"],
        hessians=str(choices["hessians"]) if choices["hessians"] else None,
    )
    with Reporter(1, quiet=as_json) as reporter:
        _, facts = build_artifact(ArtifactSpec(names[0], plan.seed), plan, host, runs / ".cache", reporter, out=out)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
    else:
        click.echo(
            f"{out}: {facts['stored_bpw']:.3f} bits stored per quantized weight ({facts['nominal_bits']:g} nominal), "
            f"{facts['model_bpw']:.3f} over the whole model, {facts['size_bytes'] / 2**20:.1f} MiB"
        )
