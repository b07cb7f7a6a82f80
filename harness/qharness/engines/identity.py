"""What can change an answer: the base of the request cache's key."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from qharness import __version__
from qharness.kv.rounding import GROUP
from qharness.transforms.ablation import Ablation

if TYPE_CHECKING:
    from qharness.engines.base import EngineRequest
    from qharness.models.loaded import LoadedModel


def identity_of(loaded: LoadedModel, request: EngineRequest) -> dict[str, Any]:
    """Return everything about model and engine that can change an answer, JSON-able."""
    return {
        "digest": loaded.digest,
        "ablation": sorted(loaded.ablated),
        "transforms": sorted(attached.entry.id for attached in loaded.transforms),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "device": loaded.model.device.type,
        "kernels": request.kernels,
        "kv_bits": request.kv_bits,
        **({} if request.kv_bits == 16 else {"kv_prefill": request.kv_prefill, "kv_group": GROUP}),
        "attention": str(loaded.model.config._attn_implementation),
        "versions": {"qharness": __version__, "torch": version("torch"), "transformers": version("transformers")},
    }


def prefill_identity_of(loaded: LoadedModel, request: EngineRequest) -> dict[str, Any]:
    """Return everything that can change an answer given in one prefill pass.

    That pass cannot see a cache that is invisible to it, and a transform that is left out whole is one that is not
    attached. So configurations that differ in nothing else share these answers, which are equal to the last bit.
    """
    identity = identity_of(loaded, request)
    if request.kv_bits == 16 or request.kv_prefill == "visible":
        return identity
    seen = {name: value for name, value in identity.items() if name not in ("kv_prefill", "kv_group")}
    omitted = [Ablation.parse(text) for text in loaded.ablated]
    parts = sorted(str(one) for one in omitted if one.is_partial or one.site)
    return {**seen, "kv_bits": 16, "ablation": parts}
