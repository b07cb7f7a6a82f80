"""`qharness hessians`: second moments of every linear's input, once per model and text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from qharness.cli import options


@click.command(
    "hessians",
    epilog="Examples: qharness hessians --out hessians/demo; "
    "qharness hessians --model ./model --text file:polish.txt --calibration-samples 512 --out hessians/model",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the Hessians.")
@options.model_option
@click.option("--text", "texts", multiple=True, metavar="SOURCE", help="file:PATH, hub:ID or demo.")
@click.option("--calibration-samples", type=int, default=None, help="Calibration sequences.")
@click.option("--calibration-length", type=int, default=None, help="Tokens of each calibration sequence.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draw of sequences.")
@options.device_options
@options.plugin_switch
def command(out: Path, switches: tuple[str, ...], **choices: Any) -> None:
    """Compute the Hessians of a model once, for every method; a stopped call goes on where it was."""
    from qharness.calibration.store import collect_hessians
    from qharness.jobs.artifacts import load_original
    from qharness.jobs.calibration import corpus_for
    from qharness.jobs.device import resolve_device
    from qharness.jobs.plan import RunPlan, check_model, model_reference
    from qharness.jobs.progress import Reporter

    host = options.host_from(switches)
    model = model_reference(choices["model"])
    check_model(model, host)
    device = resolve_device(choices["device"])
    plan = RunPlan(
        plugins=(),
        suites=(),
        model=model,
        seed=choices["seed"],
        device=device,
        texts=choices["texts"],
        calibration_samples=choices["calibration_samples"],
        calibration_length=choices["calibration_length"],
    )
    loaded = load_original(plan, host)
    corpus = corpus_for(plan, loaded, host)
    with Reporter(1) as reporter:
        collect_hessians(loaded, corpus, out, device=device, progress=reporter.update)
    samples, length = corpus.tokens.shape
    click.echo(f"{out}: Hessians of {model} on {samples} x {length} tokens of {corpus.source}")
