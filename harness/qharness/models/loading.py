"""Load whatever a model reference names, through the loaders that plugins offer."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from qharness.errors import MissingModel, PluginError
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.records import LoaderRecord


def load_model(request: LoadRequest) -> LoadedModel:
    """Load a model with the first loader that claims its reference, from the highest priority down.

    Raises:
        MissingModel: No loader claims it.
        QharnessError: What the loader raises.
    """
    loaders = sorted(request.host.records(LoaderRecord), key=lambda record: (-record.priority, record.name))
    for loader in loaders:
        if _claims(loader, request.reference):
            return loader.load(request)
    raise MissingModel(_explain(request.reference))


def _claims(loader: LoaderRecord, reference: str) -> bool:
    try:
        return loader.claims(reference)
    except Exception as error:
        raise PluginError(
            f"Loader '{loader.name}' failed to say whether it reads '{reference}': {type(error).__name__}: {error}."
        ) from error


def _explain(reference: str) -> str:
    path = Path(reference).expanduser()
    if path.is_dir():
        return f"{path} is no model: it has no config.json; give the folder of a transformers model or an artifact."
    if path.exists():
        return f"No loader reads the file {path}; give a model folder, a hub id (owner/name), or a .gguf file."
    near = _near_folder(path)
    hint = f"did you mean {near}?" if near else "give a folder that exists, or a hub id (owner/name)."
    return f"There is no model '{reference}': {hint}"


def _near_folder(path: Path) -> Path | None:
    try:
        names = [p.name for p in path.parent.iterdir() if (p / "config.json").is_file() or p.suffix == ".gguf"]
    except OSError:
        return None
    match = get_close_matches(path.name, names, n=1, cutoff=0.6)
    return path.parent / match[0] if match else None
