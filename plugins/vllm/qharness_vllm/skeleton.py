"""What an artifact adds to vLLM's own model: its linears and its transforms, under the names they have elsewhere.

vLLM fuses linears and has no place for the artifact's modules. A skeleton is a tree with only these modules, in which
the host attaches the transforms as it does in a transformers model; vLLM's layers then call its parts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from qharness.artifacts.install import linear_class, read_linears, read_tensors
from qharness.errors import MissingTransform
from qharness.models.architecture import Architecture, architecture_of, head_dim_of
from qharness.quantization.linear import QuantizedLinear
from qharness.transforms.attach import AttachOutcome, attach_transforms

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from qharness.artifacts.reader import Artifact
    from qharness.host import Host
    from qharness.transforms.sites import Map


class AttentionPoint(nn.Module):
    """Where queries and keys pass before vLLM's attention: after RoPE and before the cache.

    Args:
        head_dim: Size of a head.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self._maps: dict[str, OrderedDict[int, Map]] = {"q_post_rope": OrderedDict(), "k_pre_cache": OrderedDict()}

    def transform_states(self, site: str, apply: Map) -> RemovableHandle:
        """Apply a map to the queries (`q_post_rope`) or the keys (`k_pre_cache`)."""
        handle = RemovableHandle(self._maps[site])
        self._maps[site][handle.id] = apply
        return handle

    @property
    def acts(self) -> bool:
        """Whether anything is attached."""
        return any(self._maps.values())

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Return the transformed queries and keys, each of shape (tokens, heads * head_dim)."""
        return self._apply_maps(query, "q_post_rope"), self._apply_maps(key, "k_pre_cache")

    def _apply_maps(self, states: Tensor, site: str) -> Tensor:
        heads = states.unflatten(-1, (-1, self.head_dim))
        for apply in self._maps[site].values():
            heads = apply(heads)
        return heads.flatten(-2)


class Skeleton(nn.Module):
    """The tree.

    Attributes:
        config: Configuration of the model.
        linears: Linears that the artifact serves itself, by module name: quantized ones, and those around which a
            transform acts.
        attentions: Attention modules by name.
        outcome: What became of the transforms.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.config = config
        self.linears: dict[str, nn.Module] = {}
        self.attentions: dict[str, AttentionPoint] = {}
        self.outcome = AttachOutcome([], (), ())

    def put(self, name: str, module: nn.Module) -> None:
        """Put a module at its name; parents are made."""
        parent, _, leaf = name.rpartition(".")
        node: nn.Module = self
        for part in parent.split(".") if parent else ():
            if part not in node._modules:
                node.add_module(part, nn.Module())
            node = node.get_submodule(part)
        node.add_module(leaf, module)


def build_skeleton(
    artifact: Artifact,
    config: PretrainedConfig,
    host: Host,
    dtype: torch.dtype,
    ablate: Sequence[str] = (),
    kv_bits: int = 16,
) -> Skeleton:
    """Read an artifact's linears and attach its transforms.

    Args:
        artifact: The artifact.
        config: Configuration of its model.
        host: Registry of quantizers and transforms.
        dtype: Type of the activations.
        ablate: Transforms that are deliberately left out.
        kv_bits: Width of the key-value cache.

    Raises:
        MissingTransform: A required transform acts where vLLM does not let it, or cannot be attached at all.
        UnsupportedArchitecture: The architecture is not in the host's table.
        CorruptArtifact: A plugin cannot read the tensors back.
        PluginError: The artifact's plugin is not installed.
    """
    architecture = architecture_of(config)
    skeleton = Skeleton(config)
    attention = architecture.q.rpartition(".")[0]
    with neutral_defaults():
        for index in range(config.num_hidden_layers):
            name = f"{architecture.blocks}.{index}.{attention}"
            skeleton.attentions[name] = AttentionPoint(head_dim_of(config))
            skeleton.put(name, skeleton.attentions[name])
        for name, linear in read_linears(artifact, linear_class(artifact, host), dtype):
            _add(skeleton, name, linear)
        for name in _dense_names(artifact, architecture, config.num_hidden_layers):
            _add(skeleton, name, _dense(artifact, name, dtype))
        tensors = artifact.transform_tensors()
        try:
            # The host only looks for modules by name, and at the configuration.
            model = cast("PreTrainedModel", skeleton)
            skeleton.outcome = attach_transforms(model, artifact.transforms, tensors, host, ablate, kv_bits)
        except MissingTransform as error:
            raise MissingTransform(f"vLLM cannot run {artifact.path}. {error}") from error
    return skeleton


def _add(skeleton: Skeleton, name: str, linear: nn.Module) -> None:
    skeleton.linears[name] = linear.eval()
    skeleton.put(name, linear)


def _dense_names(artifact: Artifact, architecture: Architecture, layers: int) -> Iterator[str]:
    """Yield the unquantized linears that vLLM cannot keep for itself.

    These are the ones around which a transform acts, and those that it fuses with one that the artifact serves.
    """
    patterns = [entry.modules for entry in artifact.transforms if entry.site.startswith("linear")]
    for index in range(layers):
        for stage in architecture.stages():
            names = [f"{architecture.blocks}.{index}.{name}" for name in stage]
            if any(name in artifact.modules or any(fnmatchcase(name, p) for p in patterns) for name in names):
                yield from (name for name in names if name not in artifact.modules)


def _dense(artifact: Artifact, name: str, dtype: torch.dtype) -> nn.Linear:
    stored = (item for item in artifact.stored.values() if item.name.startswith(f"{name}."))
    tensors = read_tensors(stored, name)
    rows, columns = tensors["weight"].shape
    linear = nn.Linear(columns, rows, bias="bias" in tensors, dtype=dtype)
    linear.load_state_dict(tensors)
    return linear.requires_grad_(False)


def keep_weights(skeleton: Skeleton) -> None:
    """Keep the dequantized weights between calls, on a CPU where memory is plentiful."""
    for linear in skeleton.linears.values():
        if isinstance(linear, QuantizedLinear):
            linear.cache_weight(True)


@contextmanager
def neutral_defaults() -> Iterator[None]:
    """Undo, inside the block, the default device and type under which vLLM builds its models."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)
