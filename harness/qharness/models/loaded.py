"""A loaded model and the request that asks for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from qharness.host import Host
    from qharness.transforms.base import AttachedTransform


@dataclass(frozen=True)
class LoadRequest:
    """What to load and how.

    Attributes:
        reference: Hub id, folder, artifact folder, GGUF file or name (`demo`).
        host: Registry that resolves quantizers and runtime transforms of artifacts.
        dtype: Name of the floating-point type (`float32`, `bfloat16`, `float16`, `auto`).
        device: Device name, for example `cpu` or `cuda:0`.
        ablate: Names of runtime transforms that are deliberately left out.
        kv_bits: Width of the key-value cache; 16 is unquantized.
        trust_remote_code: Passed to transformers; never set by default.
    """

    reference: str
    host: Host
    dtype: str = "float32"
    device: str = "cpu"
    ablate: tuple[str, ...] = ()
    kv_bits: int = 16
    trust_remote_code: bool = False


@dataclass
class LoadedModel:
    """A model ready to run, with what identifies it.

    Attributes:
        model: Causal language model in eval mode.
        tokenizer: Its tokenizer.
        reference: The reference it was loaded from.
        digest: SHA-256 over the tensors and, for artifacts, the canonical quantization_config.
        dtype: Type of the activations.
        transforms: Runtime transforms that are attached.
        ablated: Names of transforms that were left out on request.
        manifest: The artifact's manifest; empty for other models.
        notice: Sentence about the origin of the weights that reports must carry, if any.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    reference: str
    digest: str
    dtype: torch.dtype
    transforms: list[AttachedTransform] = field(default_factory=list)
    ablated: tuple[str, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    notice: str = ""
