"""`qharness export`: an artifact in a format of other software."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from qharness.cli import options


@click.command(
    "export",
    epilog="Examples: qharness export --format fp16 runs/.cache/artifacts/spinquant-... ./plain; "
    "qharness export --format aqlm ./artifact ./for-transformers",
)
@click.option("--format", "name", required=True, metavar="NAME", help="Format; `qharness plugins` lists them.")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@options.plugin_switch
def command(name: str, artifact: Path, out: Path, switches: tuple[str, ...]) -> None:
    """Write ARTIFACT to the new folder OUT in a format that other software reads."""
    from qharness.jobs.export import export_artifact

    written = export_artifact(name, artifact, out, options.host_from(switches))
    click.echo(f"{written}: {sum(file.stat().st_size for file in written.rglob('*')) / 2**20:.1f} MiB")
