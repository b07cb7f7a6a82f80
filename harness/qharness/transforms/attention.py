"""Transforms inside attention: queries after RoPE, keys after RoPE and before they enter the cache.

Llama and Mistral hand post-RoPE keys to `past_key_values.update` and post-RoPE queries to a function from
transformers' AttentionInterface. Keys are transformed by wrapping the cache for the duration of one attention call;
queries by an attention function registered under its own name, which transforms and then calls the one it replaces.
The mask function is registered under the same name: without it transformers drops the causal mask silently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from qharness.errors import MissingTransform

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Map = Callable[[Tensor], Tensor]
PREFIX = "qharness_"
QUERY_MAPS = "_qharness_query_maps"
KNOWN_ATTENTION = ("LlamaAttention", "MistralAttention")


def check_attention(name: str, module: nn.Module) -> None:
    """Refuse modules whose forward pass is not known to hand keys and queries over as described above.

    Raises:
        MissingTransform: The module is no such attention.
    """
    if type(module).__name__ not in KNOWN_ATTENTION:
        known = ", ".join(KNOWN_ATTENTION)
        raise MissingTransform(f"'{name}' is a {type(module).__name__}; queries and keys are reached in {known} only")


class TransformingCache:
    """A key-value cache whose keys are transformed on the way in.

    Args:
        cache: The model's cache, or None where nothing is kept; then `update` only transforms.
        apply: Map of the last dimension of the keys, shape (batch, heads, tokens, head_dim).
    """

    def __init__(self, cache: Any, apply: Map) -> None:
        self._cache = cache
        self._apply = apply
        self.used = False

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Transform the new keys, store them, and return all keys and values."""
        self.used = True
        keys = self._apply(key_states)
        if self._cache is None:
            return keys, value_states
        stored: tuple[Tensor, Tensor] = self._cache.update(keys, value_states, *args, **kwargs)
        return stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)


def transform_keys_before_cache(module: nn.Module, apply: Map) -> list[RemovableHandle]:
    """Transform the keys of one attention module before they enter the cache, with or without a cache.

    Raises:
        MissingTransform: In the forward pass, if the attention did not hand its keys to the cache.
    """

    def wrap(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, {**kwargs, "past_key_values": TransformingCache(kwargs.get("past_key_values"), apply)}

    def verify(called: nn.Module, _: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not kwargs["past_key_values"].used:
            raise MissingTransform(
                f"{type(called).__name__} did not hand its keys to the cache, so they were not transformed; "
                "use a version of transformers that qharness was tested with."
            )

    return [
        module.register_forward_pre_hook(wrap, with_kwargs=True),
        module.register_forward_hook(verify, with_kwargs=True),
    ]


class _QueryMaps(dict[int, Map]):
    """Maps of one attention module's queries, in the order in which they were attached."""


def transform_queries_after_rope(model: PreTrainedModel, module: nn.Module, apply: Map) -> list[RemovableHandle]:
    """Transform the queries of one attention module after RoPE.

    Raises:
        MissingTransform: The model's attention function cannot be replaced; later, in its forward pass, if somebody
            switched the attention function away from the transforming one.
    """
    _use_transforming_attention(model)
    maps = getattr(module, QUERY_MAPS, None)
    if maps is None:
        maps = _QueryMaps()
        object.__setattr__(module, QUERY_MAPS, maps)
    handle = RemovableHandle(maps)
    maps[handle.id] = apply
    config = model.config

    def guard(_: nn.Module, __: tuple[Any, ...]) -> None:
        if not config._attn_implementation.startswith(PREFIX):
            raise MissingTransform(
                f"The attention function was switched to '{config._attn_implementation}', which does not transform the "
                "queries; load the model again and leave its attention function alone."
            )

    return [handle, module.register_forward_pre_hook(guard)]


def _use_transforming_attention(model: PreTrainedModel) -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    base = model.config._attn_implementation or "eager"
    if base.startswith(PREFIX):
        return
    if base not in ("sdpa", "eager"):
        raise MissingTransform(f"queries can be transformed with sdpa and eager attention, not with '{base}'")
    name = PREFIX + base
    AttentionInterface.register(name, _attention(base))
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    model.set_attn_implementation(name)
    if model.config._attn_implementation != name:
        raise MissingTransform("the model does not let its attention function be replaced")


def _attention(base: str) -> Callable[..., tuple[Tensor, Tensor | None]]:
    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        for apply in (getattr(module, QUERY_MAPS, None) or {}).values():
            query = apply(query)
        result: tuple[Tensor, Tensor | None] = _base_function(module, base)(
            module, query, key, value, attention_mask, **kwargs
        )
        return result

    return attention


def _base_function(module: nn.Module, base: str) -> Callable[..., Any]:
    from sys import modules

    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if base == "eager":
        # Eager attention is each architecture's own function, beside its attention class.
        eager: Callable[..., Any] = modules[type(module).__module__].eager_attention_forward
        return eager
    found: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS[base]
    return found
