"""Read an artifact's description and check that it is finished, whole and consistent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.artifacts.digest import canonical_json, stored_digest
from qharness.artifacts.layout import CONFIG, FORMAT_VERSION, MANIFEST, METHOD, TRANSFORM_PREFIX, TRANSFORM_TENSORS
from qharness.artifacts.tensorfiles import StoredTensor, read_header, read_headers
from qharness.errors import CorruptArtifact, MissingModel
from qharness.transforms.contract import TransformEntry

if TYPE_CHECKING:
    from torch import Tensor

_CONFIG_FIELDS: dict[str, type] = {
    "plugin": str, "plugin_version": str, "format_version": int, "options": dict, "modules": dict, "transforms": list,
}  # fmt: skip
_MANIFEST_FIELDS: dict[str, type | tuple[type, ...]] = {
    "digest": str, "tensors_digest": str, "files": dict,
    "stored_bpw": (int, float), "model_bpw": (int, float), "size_bytes": int,
}  # fmt: skip


@dataclass(frozen=True)
class Artifact:
    """A finished artifact on disk.

    Attributes:
        path: Its folder.
        quantization: Its quantization_config.
        manifest: Its manifest.
        transforms: Its transform contract.
        stored: Its weights by name (quantized linears as `<module>.<tensor>`).
    """

    path: Path
    quantization: Mapping[str, Any]
    manifest: Mapping[str, Any]
    transforms: tuple[TransformEntry, ...]
    stored: Mapping[str, StoredTensor]

    @property
    def digest(self) -> str:
        """The digest that the manifest records."""
        return str(self.manifest["digest"])

    @property
    def plugin(self) -> str:
        """Name of the quantizer."""
        return str(self.quantization["plugin"])

    @property
    def modules(self) -> Mapping[str, Mapping[str, Any]]:
        """Spec of each quantized linear by module name."""
        modules: Mapping[str, Mapping[str, Any]] = self.quantization["modules"]
        return modules

    def transform_tensors(self) -> dict[str, Tensor]:
        """Read the tensors of the runtime transforms."""
        path = self.path / TRANSFORM_TENSORS
        if not path.exists():
            return {}
        from safetensors.torch import load_file

        tensors: dict[str, Tensor] = load_file(path)
        return tensors

    def verify(self) -> None:
        """Compute the digest from all bytes and compare it with the manifest's.

        Raises:
            CorruptArtifact: They differ.
        """
        if stored_digest(stored_tensors(self.path)) != self.manifest["tensors_digest"]:
            raise CorruptArtifact(
                f"The tensors of {self.path} are not those of its manifest; copy or quantize it again."
            )


def is_artifact(folder: Path | str) -> bool:
    """Return whether a folder's config.json says that it is an artifact of qharness, finished or not."""
    try:
        config = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
        return bool(config["quantization_config"]["quant_method"] == METHOD)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def stored_tensors(folder: Path) -> list[StoredTensor]:
    """Return all tensors that the artifact digest covers; those of transforms under the prefix `transforms/`."""
    found = list(read_headers(folder).values())
    if (folder / TRANSFORM_TENSORS).exists():
        found += [t._replace(name=TRANSFORM_PREFIX + t.name) for t in read_header(folder / TRANSFORM_TENSORS)]
    return found


def artifact_digest(tensors: str, config: Mapping[str, Any]) -> str:
    """Return the digest of an artifact from that of its tensors and its quantization_config."""
    return hashlib.sha256(tensors.encode() + b"\n" + canonical_json(config)).hexdigest()


def read_artifact(folder: Path | str) -> Artifact:
    """Read an artifact and check it: cheaply, by sizes and headers; `Artifact.verify` reads all bytes.

    Raises:
        MissingModel: The folder has no config.json.
        CorruptArtifact: The artifact is unfinished, truncated, of an unknown format, or contradicts itself.
    """
    path = Path(folder)
    if not (path / CONFIG).is_file():
        raise MissingModel(f"{path} is no artifact: it has no {CONFIG}.")
    config = _read_json(path / CONFIG).get("quantization_config")
    if not isinstance(config, dict) or config.get("quant_method") != METHOD:
        raise CorruptArtifact(f"{path / CONFIG} has no quantization_config of qharness; it is no artifact.")
    if not (path / MANIFEST).is_file():
        raise CorruptArtifact(f"{path} is unfinished: it has no {MANIFEST}; quantize again.")
    manifest = _read_json(path / MANIFEST)
    _check_fields(config, _CONFIG_FIELDS, path / CONFIG)
    _check_fields(manifest, _MANIFEST_FIELDS, path / MANIFEST)
    if config["format_version"] != FORMAT_VERSION:
        raise CorruptArtifact(
            f"{path} has artifact format {config['format_version']}, this qharness reads {FORMAT_VERSION}; "
            "install a matching version or quantize again."
        )
    if artifact_digest(manifest["tensors_digest"], config) != manifest["digest"]:
        raise CorruptArtifact(
            f"{path / CONFIG} was changed after the artifact was written: it contradicts {MANIFEST}; quantize again."
        )
    entries = tuple(TransformEntry.from_json(data) for data in config["transforms"])
    _check_files(path, manifest["files"])
    stored = read_headers(path)
    _check_modules(path, config["modules"], stored)
    return Artifact(path, config, manifest, entries, stored)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptArtifact(f"{path} is no readable JSON file; copy the artifact again.") from error
    if not isinstance(data, dict):
        raise CorruptArtifact(f"{path} is no JSON object; copy the artifact again.")
    return data


def _check_fields(data: Mapping[str, Any], fields: Mapping[str, type | tuple[type, ...]], path: Path) -> None:
    for name, kind in fields.items():
        if not isinstance(data.get(name), kind) or isinstance(data.get(name), bool):
            raise CorruptArtifact(f"{path} has no valid '{name}'; copy or write the artifact again.")


def _check_files(path: Path, files: Mapping[str, Any]) -> None:
    for name, size in files.items():
        if Path(name).name != name:
            raise CorruptArtifact(f"{path / MANIFEST} names a file outside its folder; do not use this artifact.")
        if not (path / name).is_file():
            raise CorruptArtifact(f"{path} lacks the file {name} that its manifest names; copy it again.")
        found = (path / name).stat().st_size
        if found != size:
            raise CorruptArtifact(
                f"{path / name} has {found:,} bytes, its manifest says {size:,}: it is truncated or was changed; "
                "copy or quantize it again."
            )


def _check_modules(path: Path, modules: Mapping[str, Any], stored: Mapping[str, StoredTensor]) -> None:
    owners = {name.rpartition(".")[0] for name in stored}
    for name, spec in modules.items():
        if not isinstance(spec, dict):
            raise CorruptArtifact(f"{path / CONFIG} has no valid spec of '{name}'; quantize again.")
        has_own = name in owners or any(owner.startswith(f"{name}.") for owner in owners)
        # A module may share all of its tensors with others.
        if not has_own and not spec.get("shared"):
            raise CorruptArtifact(f"{path} has no tensors of the quantized module '{name}'; quantize again.")
