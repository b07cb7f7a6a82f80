"""Put an artifact's quantized linears into a transformers model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qharness.artifacts.reader import Artifact
from qharness.artifacts.tensorfiles import StoredTensor
from qharness.errors import CorruptArtifact, PluginError, UnknownName
from qharness.records import QuantizerRecord

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.host import Host
    from qharness.quantization.linear import QuantizedLinear


class Placeholder(nn.Module):
    """Stands where a quantized linear goes while transformers loads all other weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Refuse: nothing was installed."""
        raise CorruptArtifact(
            "A quantized linear was not loaded; load the artifact with `import qharness.hf` in place."
        )


def linear_class(artifact: Artifact, host: Host) -> type[QuantizedLinear]:
    """Return the class that reads the artifact's quantized linears.

    Raises:
        PluginError: The artifact's plugin is not installed.
    """
    if not artifact.modules:
        from qharness.quantization.linear import QuantizedLinear

        return QuantizedLinear
    try:
        return host.get(QuantizerRecord, artifact.plugin).linear()
    except UnknownName as error:
        raise PluginError(
            f"{artifact.path} needs the plugin '{artifact.plugin}' {artifact.quantization['plugin_version']}, "
            "which is not installed; install it."
        ) from error


def reserve(model: PreTrainedModel, artifact: Artifact) -> None:
    """Replace the linears that the artifact quantizes by placeholders without weights.

    Raises:
        CorruptArtifact: A module does not exist, is no linear, or a weight that the model needs is not stored.
    """
    for name in artifact.modules:
        try:
            module = model.get_submodule(name)
        except AttributeError as error:
            raise CorruptArtifact(f"{artifact.path} quantizes '{name}', which the model does not have.") from error
        if not isinstance(module, nn.Linear):
            raise CorruptArtifact(f"{artifact.path} quantizes '{name}', which is a {type(module).__name__}.")
        model.set_submodule(name, Placeholder())
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    needed = set(model.state_dict()) - set(tied if model.config.tie_word_embeddings else ())
    absent = sorted(needed - set(artifact.stored))
    if absent:
        raise CorruptArtifact(f"{artifact.path} lacks the weight '{absent[0]}' ({len(absent)} in all); quantize again.")


def install(model: PreTrainedModel, artifact: Artifact, kind: type[QuantizedLinear], dtype: torch.dtype) -> None:
    """Replace the placeholders by the artifact's quantized linears, with their tensors exactly as stored.

    Args:
        model: Model after `reserve`, with all other weights loaded.
        artifact: The artifact.
        kind: Class of its quantized linears.
        dtype: Type of the activations; biases are converted to it.

    Raises:
        CorruptArtifact: A plugin cannot read the tensors back, or sizes contradict the configuration.
    """
    sizes = _expected_sizes(model, artifact.modules)
    for name, linear in read_linears(artifact, kind, dtype):
        if name in sizes and (linear.out_features, linear.in_features) != sizes[name]:
            raise CorruptArtifact(
                f"'{name}' of {artifact.path} is {linear.out_features} x {linear.in_features}, "
                f"the model needs {sizes[name][0]} x {sizes[name][1]}."
            )
        model.set_submodule(name, linear.eval())


def read_linears(
    artifact: Artifact, kind: type[QuantizedLinear], dtype: torch.dtype | None = None
) -> Iterator[tuple[str, QuantizedLinear]]:
    """Yield the artifact's quantized linears by module name, one after the other.

    Args:
        artifact: The artifact.
        kind: Class of its quantized linears.
        dtype: Type that biases are converted to; as stored if None.

    Raises:
        CorruptArtifact: A plugin cannot read the tensors back.
    """
    tensors = by_module(artifact.stored.values(), artifact.modules)
    for name, spec in artifact.modules.items():
        own = read_tensors(tensors[name], name)
        for tensor, owner in spec.get("shared", {}).items():
            # One that is missing is left to the class to report.
            own |= read_tensors((item for item in tensors.get(owner, ()) if item.name == f"{owner}.{tensor}"), owner)
        if own.get("bias") is not None and dtype is not None:
            own["bias"] = own["bias"].to(dtype)
        try:
            yield name, kind.from_tensors(own, spec)
        except Exception as error:
            raise CorruptArtifact(
                f"Plugin '{artifact.plugin}' cannot read '{name}' of {artifact.path}: {type(error).__name__}: {error}."
            ) from error


def by_module(stored: Iterable[StoredTensor], modules: Iterable[str]) -> dict[str, list[StoredTensor]]:
    """Return the stored tensors of each module, those of its submodules included."""
    found: dict[str, list[StoredTensor]] = {name: [] for name in modules}
    for tensor in stored:
        parts = tensor.name.split(".")
        owner = next((o for i in range(len(parts) - 1, 0, -1) if (o := ".".join(parts[:i])) in found), None)
        if owner is not None:
            found[owner].append(tensor)
    return found


def read_tensors(stored: Iterable[StoredTensor], module: str = "") -> dict[str, Tensor]:
    """Read tensors, by their names relative to a module."""
    from safetensors import safe_open

    tensors: dict[str, Tensor] = {}
    for item in stored:
        with safe_open(item.file, framework="pt") as file:
            tensors[item.name.removeprefix(f"{module}.")] = file.get_tensor(item.name)
    return tensors


def _expected_sizes(model: PreTrainedModel, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return (out_features, in_features) of linears by name, from the configuration alone."""
    with torch.device("meta"):
        plain = type(model)(model.config)
    found = {}
    for name in names:
        linear = plain.get_submodule(name)
        if isinstance(linear, nn.Linear):
            found[name] = (linear.out_features, linear.in_features)
    return found
