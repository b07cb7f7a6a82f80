"""The four places where a runtime transform can act, and how it gets there in a transformers model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor, nn

from qharness.errors import MissingTransform
from qharness.models.architecture import head_dim_of
from qharness.transforms.attention import check_attention, transform_keys_before_cache, transform_queries_after_rope
from qharness.transforms.base import AttachedTransform
from qharness.transforms.contract import TransformEntry

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle
    from transformers import PreTrainedModel

Map = Callable[[Tensor], Tensor]


@runtime_checkable
class TransformableAttention(Protocol):
    """An attention module of another engine, which reaches its own queries and keys.

    Attributes:
        head_dim: Size of a head.
    """

    head_dim: int

    def transform_states(self, site: str, apply: Map) -> RemovableHandle:
        """Apply a map to the queries after RoPE (`q_post_rope`) or the keys before the cache (`k_pre_cache`)."""


def attach_at_site(
    model: PreTrainedModel, entry: TransformEntry, apply: Map, of: Callable[[str], Map] | None = None
) -> AttachedTransform:
    """Attach a map at the entry's site of every module that its pattern matches.

    Args:
        model: Decoder of a supported architecture.
        entry: Contract entry.
        apply: Map of the last dimension, size `entry.map.size`, any number of leading dimensions.
        of: Returns the map of a module by its name, where each has its own.

    Raises:
        MissingTransform: No module matches, one has no such site, or its size is not the map's.
    """
    matched = [(name, module) for name, module in model.named_modules() if fnmatchcase(name, entry.modules)]
    if not matched:
        raise MissingTransform(f"no module of the model matches '{entry.modules}'")
    for name, module in matched:
        found = _size(model, name, module, entry.site)
        if found != entry.map.size:
            raise MissingTransform(f"it is a map of {entry.map.size} numbers, but '{name}' has {found}")
    maps = {name: of(name) if of else apply for name, _ in matched}
    handles = [handle for name, module in matched for handle in _attach(model, module, entry.site, maps[name])]
    return AttachedTransform(entry, [name for name, _ in matched], handles, maps)


def _size(model: PreTrainedModel, name: str, module: nn.Module, site: str) -> int:
    if site in ("linear_input", "linear_output"):
        size = getattr(module, "in_features" if site == "linear_input" else "out_features", None)
        if not isinstance(size, int):
            raise MissingTransform(f"'{name}' is a {type(module).__name__}, not a linear layer")
        return size
    if not isinstance(module, TransformableAttention):
        check_attention(name, module)
    return int(getattr(module, "head_dim", head_dim_of(model.config)))


def _attach(model: PreTrainedModel, module: nn.Module, site: str, apply: Map) -> Iterable[RemovableHandle]:
    if isinstance(module, TransformableAttention) and not site.startswith("linear"):
        return [module.transform_states(site, apply)]
    match site:
        case "linear_input":
            return [module.register_forward_pre_hook(lambda _, inputs: (apply(inputs[0]), *inputs[1:]))]
        case "linear_output":
            return [module.register_forward_hook(lambda _, __, output: apply(output))]
        case "q_post_rope":
            return transform_queries_after_rope(model, module, apply)
        case "k_pre_cache":
            return transform_keys_before_cache(module, apply)
        case _:
            raise MissingTransform(f"there is no site '{site}'")
