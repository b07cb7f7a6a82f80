"""Export: an artifact in a format of other software, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qharness.artifacts.reader import read_artifact
from qharness.errors import UsageError, normalize_name
from qharness.records import ExporterRecord

if TYPE_CHECKING:
    from qharness.artifacts.reader import Artifact
    from qharness.host import Host


@dataclass(frozen=True)
class ExportRequest:
    """What an exporter is asked for.

    Attributes:
        artifact: The artifact, checked.
        path: Its folder.
        out: New empty folder to write into.
        host: Registry.
    """

    artifact: Artifact
    path: Path
    out: Path
    host: Host


def export_artifact(name: str, path: Path, out: Path, host: Host) -> Path:
    """Write an artifact in another format, by temp folder and rename.

    Args:
        name: Format.
        path: Folder of the artifact.
        out: New folder.
        host: Registry.

    Returns:
        The folder written.

    Raises:
        UnknownName: There is no such format.
        UsageError: The format does not take this plugin's artifacts, or `out` exists.
        CorruptArtifact: The artifact cannot be read.
    """
    exporter = host.get(ExporterRecord, name)
    if out.exists():
        raise UsageError(f"{out} exists; give a new folder.")
    artifact = read_artifact(path)
    if exporter.plugins and normalize_name(artifact.plugin) not in map(normalize_name, exporter.plugins):
        takes = ", ".join(exporter.plugins)
        raise UsageError(f"Format '{exporter.name}' takes artifacts of {takes}; {path} is of {artifact.plugin}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        work = Path(temporary) / "out"
        work.mkdir()
        exporter.write(ExportRequest(artifact, path, work, host))
        shutil.move(work, out)
    return out
