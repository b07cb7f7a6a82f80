"""Hessians on disk: computed once per model and corpus, and refused for another model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from qharness.errors import CorruptArtifact, DigestMismatch, MissingData
from qharness.results.files import read_json, write_atomically, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from qharness.calibration.corpus import Corpus
    from qharness.models.loaded import LoadedModel

FORMAT = 1
MANIFEST = "hessians.json"


@dataclass(frozen=True)
class HessianManifest:
    """What a store holds.

    Attributes:
        model: Reference of the model.
        model_digest: Its weight digest.
        corpus: Name of the text source.
        corpus_digest: SHA-256 of the token ids.
        samples: Number of samples.
        length: Tokens per sample.
        blocks: Number of decoder blocks.
        stages: Linears that share an input, relative to a block.
        prefix: Name of the list of blocks.
        format: Version of this format.
    """

    model: str
    model_digest: str
    corpus: str
    corpus_digest: str
    samples: int
    length: int
    blocks: int
    stages: tuple[tuple[str, ...], ...]
    prefix: str
    format: int = FORMAT


class HessianStore:
    """A folder with one safetensors file per block and a manifest, which is written last.

    Hessians are means of x x^T over the tokens, shape (n, n), float32.
    """

    def __init__(self, folder: Path, manifest: HessianManifest) -> None:
        self.folder, self.manifest = folder, manifest
        self._owner = {name: stage[0] for stage in manifest.stages for name in stage}
        self._kept: tuple[str, Tensor] | None = None

    @classmethod
    def open(cls, folder: Path, model_digest: str, reference: str = "the model at hand") -> Self:
        """Open a finished store.

        Args:
            folder: Its folder.
            model_digest: Digest of the model that it is to be used with.
            reference: Name of that model for the error.

        Raises:
            MissingData: The folder holds no finished store.
            CorruptArtifact: The manifest cannot be read.
            DigestMismatch: The Hessians are of another model.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise MissingData(
                f"{folder} holds no finished Hessians; compute them with `qharness hessians --out {folder}`."
            )
        try:
            data = read_json(path)
            stages = tuple(tuple(stage) for stage in data.pop("stages"))
            manifest = HessianManifest(**data, stages=stages)
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptArtifact(f"{path} cannot be read: {error}; compute the Hessians again.") from error
        if manifest.model_digest != model_digest:
            raise DigestMismatch(
                f"The Hessians in {folder} are of '{manifest.model}' (digest {manifest.model_digest[:12]}), not of "
                f"'{reference}' (digest {model_digest[:12]}); compute them for it with `qharness hessians`."
            )
        return cls(folder, manifest)

    @property
    def digest(self) -> str:
        """SHA-256 over the manifest: names the model, the corpus and the sampling."""
        return hashlib.sha256(json.dumps(asdict(self.manifest), sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return model, corpus, size and digest as plain data."""
        facts = asdict(self.manifest)
        del facts["stages"], facts["prefix"]
        return facts | {"digest": self.digest}

    def get(self, name: str) -> Tensor:
        """Return the Hessian of the input of a linear, by its full module name.

        Raises:
            MissingData: The store has no such linear.
        """
        from safetensors import SafetensorError, safe_open

        head, _, rest = name.removeprefix(self.manifest.prefix + ".").partition(".")
        owner = self._owner.get(rest)
        if owner is None or not head.isdigit() or int(head) >= self.manifest.blocks:
            raise MissingData(f"The Hessians in {self.folder} know no linear '{name}'.")
        key = f"{head}.{owner}"
        if self._kept is None or self._kept[0] != key:
            path = block_file(self.folder, int(head))
            try:
                with safe_open(path, framework="pt") as file:
                    self._kept = (key, file.get_tensor(owner))
            except (OSError, SafetensorError) as error:
                raise CorruptArtifact(f"{path} cannot be read: {error}; compute the Hessians again.") from error
        return self._kept[1]


def block_file(folder: Path, index: int) -> Path:
    """Return the file of a block's Hessians."""
    return folder / f"block-{index:03d}.safetensors"


def collect_hessians(
    loaded: LoadedModel,
    corpus: Corpus,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Callable[[int, int, str], None] = lambda done, total, label: None,
) -> HessianStore:
    """Compute the Hessians of a model on a corpus, block by block; a second call goes on where the first was stopped.

    Args:
        loaded: The model.
        corpus: Calibration tokens.
        folder: Where to store them; `default_folder` names one.
        device: Device for one block at a time.
        progress: Called with (done, total, label) after each block.

    Raises:
        DigestMismatch: The folder holds Hessians of another model or corpus.
    """
    from safetensors.torch import save_file

    from qharness.calibration.moments import SecondMoment
    from qharness.calibration.walk import first_inputs, forward_block, on_device
    from qharness.models.architecture import architecture_of
    from qharness.quantization.threads import steady_threads

    architecture = architecture_of(loaded.model.config)
    blocks = list(architecture.module(loaded.model, architecture.blocks).children())
    manifest = HessianManifest(
        loaded.reference,
        loaded.digest,
        corpus.source,
        corpus.digest,
        len(corpus.tokens),
        corpus.tokens.shape[1],
        len(blocks),
        architecture.stages(),
        architecture.blocks,
    )
    _claim(folder, manifest)
    if (folder / MANIFEST).is_file():
        return HessianStore(folder, manifest)
    with steady_threads(loaded.model.num_parameters(), device):
        inputs = first_inputs(loaded.model, architecture, corpus.tokens)
        for index, block in enumerate(blocks):
            path = block_file(folder, index)
            with on_device(block, device):
                sums = {} if path.is_file() else {stage[0]: SecondMoment() for stage in manifest.stages}
                watch = {name: moment.add for name, moment in sums.items()}
                inputs = forward_block(block, inputs, device, watch)
                if sums:
                    moments = {name: moment.mean().cpu() for name, moment in sums.items()}
                    write_atomically(path, partial(save_file, moments))
            progress(index + 1, len(blocks), f"Hessians of block {index}")
    write_json(folder / MANIFEST, asdict(manifest))
    return HessianStore(folder, manifest)


def default_folder(root: Path, model_digest: str, corpus_digest: str) -> Path:
    """Return the folder under `root` that belongs to a model and a corpus."""
    return root / f"{model_digest[:16]}-{corpus_digest[:16]}"


def _claim(folder: Path, manifest: HessianManifest) -> None:
    """Write what a folder is going to hold, or check that an unfinished one holds the same."""
    path = folder / "started.json"
    wanted = json.loads(json.dumps(asdict(manifest)))
    found = read_json(path)
    if found is None:
        write_json(path, wanted)
    elif found != wanted:
        what = "model" if found.get("model_digest") != manifest.model_digest else "corpus"
        raise DigestMismatch(
            f"{folder} was begun with another {what} ({found.get('model')} on {found.get('corpus')}, not "
            f"{manifest.model} on {manifest.corpus}); name another folder."
        )
