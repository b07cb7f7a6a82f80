"""Write a quantized model as a Hugging Face model directory that qharness reads back exactly."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.artifacts.bits import BitsAccount, account
from qharness.artifacts.digest import canonical_json, own_tensors, stored_digest
from qharness.artifacts.layout import CONFIG, FORMAT_VERSION, MANIFEST, METHOD, TRANSFORM_TENSORS
from qharness.artifacts.reader import artifact_digest, stored_tensors
from qharness.artifacts.tensorfiles import INDEX
from qharness.errors import Unwritable, UsageError
from qharness.transforms.contract import TransformEntry

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from qharness.quantization.linear import QuantizedLinear

SHARD_SIZE = "2GB"


@dataclass(frozen=True)
class ArtifactInfo:
    """An artifact that was written.

    Attributes:
        path: Its folder.
        digest: Digest of its tensors and its quantization_config.
        nominal_bits: Bits per weight of the code alone, if the caller gave it.
        stored_bpw: Stored bits per weight over the quantized linears, everything they need counted.
        model_bpw: Stored bits per weight over the whole model.
        size_bytes: Size of its tensor files.
    """

    path: Path
    digest: str
    nominal_bits: float | None
    stored_bpw: float
    model_bpw: float
    size_bytes: int


def write_artifact(
    out: Path | str,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    quantized: Mapping[str, QuantizedLinear],
    quantizer: str,
    plugin_version: str,
    options: Mapping[str, Any],
    transforms: Sequence[TransformEntry],
    tensors: Mapping[str, Tensor],
    provenance: Mapping[str, Any],
    nominal_bits: float | None = None,
    overwrite: bool = False,
    shard_size: str | int = SHARD_SIZE,
) -> ArtifactInfo:
    """Write an artifact; it appears under its name only when it is complete.

    Args:
        out: Folder to make.
        model: The prepared model: everything but its quantized linears is stored from it, in its own types. The
            linears named in `quantized` may still be there.
        tokenizer: Stored beside it.
        quantized: Quantized linears by module name.
        quantizer: Name of the quantizer record that reads them back.
        plugin_version: Version of its plugin.
        options: Its options, JSON-able.
        transforms: Runtime transforms that the artifact needs.
        tensors: Tensors of the runtime transforms, by name.
        provenance: What the manifest records besides (base model and digest, Hessians, seeds, times), JSON-able.
        nominal_bits: Bits per weight of the code alone.
        overwrite: Replace an artifact that is already there.
        shard_size: Largest size of one safetensors file.

    Raises:
        Unwritable: The folder exists, or cannot be written.
        UsageError: A quantized name is no module of the model, tied weights differ, or values are not JSON-able.
    """
    folder = Path(out)
    _check_target(folder, overwrite)
    names = {name for name, _ in model.named_modules()}
    strangers = sorted(set(quantized) - names)
    if strangers:
        raise UsageError(f"The model has no module '{strangers[0]}'; quantized names must be module names.")
    others = _other_tensors(model, quantized)
    bits = account(quantized, tensors, others)
    config = {
        "quant_method": METHOD,
        "plugin": quantizer,
        "plugin_version": plugin_version,
        "format_version": FORMAT_VERSION,
        "options": dict(options),
        "modules": {name: dict(module.spec()) for name, module in sorted(quantized.items())},
        "transforms": [entry.to_json() for entry in transforms],
    }
    config = _plain(config, "options and specs")
    weights = dict(others)
    for name, module in quantized.items():
        weights.update({f"{name}.{key}": tensor for key, tensor in module.tensors().items()})
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    except OSError as error:
        raise Unwritable(f"Cannot write to {folder.parent}: {error.strerror}; choose another folder.") from error
    try:
        work.chmod(0o755)
        write_weights(work, weights, shard_size)
        if tensors:
            _save(_separate(tensors), work / TRANSFORM_TENSORS)
        _write_config(work, model, tokenizer, config)
        info = _write_manifest(work, folder, config, bits, dict(provenance), nominal_bits)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(work, folder)
    except OSError as error:
        raise Unwritable(
            f"Cannot write {folder}: {error.strerror or error}; free space or choose another folder."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return info


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (overwrite and (folder / CONFIG).is_file() and (folder / MANIFEST).is_file()):
        raise Unwritable(f"{folder} already exists; remove it or choose another folder.")


def _other_tensors(model: PreTrainedModel, quantized: Mapping[str, QuantizedLinear]) -> dict[str, Tensor]:
    state = own_tensors(model)
    if getattr(model.config, "tie_word_embeddings", False):
        for name, source in (getattr(model, "all_tied_weights_keys", None) or {}).items():
            if name in state and source in state and not state[name].equal(state[source]):
                raise UsageError(
                    f"'{name}' differs from '{source}' but the configuration ties them; "
                    "set tie_word_embeddings to False."
                )
            state.pop(name, None)
    return {name: tensor for name, tensor in state.items() if not belongs(name, quantized)}


def belongs(name: str, modules: Mapping[str, Any]) -> bool:
    """Return whether a tensor of that name lies in one of the modules."""
    parts = name.split(".")
    return any(".".join(parts[:i]) in modules for i in range(1, len(parts)))


def write_weights(folder: Path, weights: Mapping[str, Tensor], shard_size: str | int = SHARD_SIZE) -> None:
    """Write tensors as the safetensors shards of a model folder, with an index if there are several."""
    from huggingface_hub import split_torch_state_dict_into_shards

    ready = _separate(weights)
    split = split_torch_state_dict_into_shards(ready, max_shard_size=shard_size)
    for file, names in split.filename_to_tensors.items():
        _save({name: ready[name] for name in names}, folder / file)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / INDEX).write_bytes(_pretty(index))


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(tensors, path, metadata={"format": "pt"})


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in host memory, sorted by name; copies of those that share memory, which cannot be stored."""
    ready: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu").contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        ready[name] = tensor
    return ready


def _write_config(
    work: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, config: Mapping[str, Any]
) -> None:
    model.config.save_pretrained(work)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(work)
    if tokenizer is not None:
        tokenizer.save_pretrained(work)
    whole = json.loads((work / CONFIG).read_text(encoding="utf-8"))
    whole["architectures"] = [type(model).__name__]
    whole["dtype"] = str(model.dtype).removeprefix("torch.")
    whole["quantization_config"] = config
    (work / CONFIG).write_bytes(_pretty(whole))


def _write_manifest(
    work: Path,
    folder: Path,
    config: Mapping[str, Any],
    bits: BitsAccount,
    provenance: dict[str, Any],
    nominal_bits: float | None,
) -> ArtifactInfo:
    tensors_digest = stored_digest(stored_tensors(work))
    digest = artifact_digest(tensors_digest, config)
    files = {path.name: path.stat().st_size for path in sorted(work.iterdir()) if path.is_file()}
    size = sum(count for name, count in files.items() if name.endswith(".safetensors"))
    nominal = provenance.get("nominal_bits") if nominal_bits is None else nominal_bits
    manifest = {
        **provenance,
        "format_version": FORMAT_VERSION,
        "digest": digest,
        "tensors_digest": tensors_digest,
        "plugin": config["plugin"],
        "plugin_version": config["plugin_version"],
        "nominal_bits": nominal,
        "stored_bpw": bits.stored_bpw,
        "model_bpw": bits.model_bpw,
        "size_bytes": size,
        "bits": {
            "modules": {name: dict(parts) for name, parts in bits.modules.items()},
            "transforms": bits.transforms,
            "others": bits.others,
            "quantized_weights": bits.quantized_weights,
            "other_weights": bits.other_weights,
        },
        "files": files,
    }
    temporary = work / f"{MANIFEST}.tmp"
    temporary.write_bytes(_pretty(_plain(manifest, "provenance")))
    os.replace(temporary, work / MANIFEST)
    return ArtifactInfo(folder, digest, nominal, bits.stored_bpw, bits.model_bpw, size)


def _plain(data: dict[str, Any], what: str) -> dict[str, Any]:
    """Return data as JSON reads it back, so that what is hashed is what is stored."""
    try:
        plain: dict[str, Any] = json.loads(canonical_json(data))
    except (TypeError, ValueError) as error:
        raise UsageError(f"The {what} of an artifact must be JSON-able: {error}.") from error
    return plain


def _pretty(data: Any) -> bytes:
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
