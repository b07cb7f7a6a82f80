"""vLLM's side of an artifact: a quantization config that puts the artifact's linears into vLLM's fused layers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from vllm.config import get_current_vllm_config
from vllm.model_executor.layers.linear import LinearBase, UnquantizedLinearMethod
from vllm.model_executor.layers.quantization.base_config import QuantizationConfig, QuantizeMethodBase
from vllm.model_executor.models.utils import WeightsMapper
from vllm.platforms import current_platform

from qharness.artifacts.layout import METHOD
from qharness.artifacts.reader import read_artifact
from qharness.errors import CorruptArtifact, MissingTransform
from qharness.host import Host, default_host
from qharness.models.hub import folder_of
from qharness.serving.model import serve_modules, summary
from qharness_vllm.cache import bits_of
from qharness_vllm.layers import PartedLinear, transform_attention
from qharness_vllm.skeleton import Skeleton, build_skeleton, keep_weights

if TYPE_CHECKING:
    from transformers import PretrainedConfig

SETTINGS = "qharness"
"""Key of vLLM's `additional_config` under which `ablate` and `kernels` are given."""
ATTENTION = ".attn"
"""What vLLM appends to the name of an attention module for the layer that attends."""

_host: ContextVar[Host] = ContextVar("qharness_vllm_host")


@contextmanager
def using_host(host: Host) -> Iterator[None]:
    """Resolve quantizers and transforms with this registry inside the block; elsewhere the process-wide one serves."""
    token = _host.set(host)
    try:
        yield
    finally:
        _host.reset(token)


class ArtifactConfig(QuantizationConfig):
    """`quantization_config` of an artifact, as vLLM asks for it.

    Attributes:
        skeleton: The artifact's linears and transforms, once the first layer has asked for them.
        kernels: What serves them, once the model is complete.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skeleton: Skeleton | None = None
        self.kernels: list[dict[str, Any]] | None = None
        self._unclaimed: set[str] = set()

    def get_name(self) -> str:
        """Return the name of the quantization method."""
        return METHOD

    def get_supported_act_dtypes(self) -> list[torch.dtype]:
        """Return the types of activations."""
        return [torch.float32, torch.bfloat16, torch.float16]

    @classmethod
    def get_min_capability(cls) -> int:
        """Return 0: nothing here depends on the GPU's generation."""
        return 0

    @staticmethod
    def get_config_filenames() -> list[str]:
        """Return no file: everything is in config.json."""
        return []

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ArtifactConfig:
        """Return the config; the artifact itself is read when its folder is known."""
        return cls()

    def maybe_update_config(
        self, model_name: str, hf_config: PretrainedConfig | None = None, revision: str | None = None
    ) -> None:
        """Read the artifact.

        Raises:
            CorruptArtifact: It is unfinished, truncated or contradicts itself.
        """
        self._artifact = read_artifact(folder_of(model_name))
        self._model_config = hf_config

    def get_quant_method(self, layer: nn.Module, prefix: str) -> QuantizeMethodBase | None:
        """Return what serves a layer: the artifact's linears, vLLM's own linear, or its own embedding.

        Raises:
            MissingTransform: A required transform acts where vLLM does not let it.
        """
        skeleton = self._build()
        if isinstance(layer, LinearBase):
            parent, _, leaf = prefix.rpartition(".")
            names = [f"{parent}.{name}" for name in self.packed_modules_mapping.get(leaf, [leaf])]
            parts = [skeleton.linears[name] for name in names if name in skeleton.linears]
            if not parts:
                return UnquantizedLinearMethod()
            if len(parts) < len(names):
                raise CorruptArtifact(f"{self._artifact.path} serves a part of '{prefix}' only, which vLLM fuses.")
            self._unclaimed -= set(names)
            return PartedLinear(prefix, parts, self.complete)
        name = prefix.removesuffix(ATTENTION)
        # vLLM asks again after loading; what acts must act once.
        if name != prefix and name in self._unclaimed:
            self._unclaimed.discard(name)
            transform_attention(layer, skeleton.attentions[name])
        return None

    def get_cache_scale_mapper(self) -> WeightsMapper:
        """Return a mapper that keeps the artifact's own tensors from vLLM's loader: the host has read them."""
        names = "|".join(re.escape(name) for name in self._build().linears)
        return WeightsMapper(orig_to_new_regex={re.compile(rf"^(?:{names})\."): None} if names else {})

    def complete(self) -> None:
        """Check that vLLM's model has taken everything, and choose the kernels.

        Raises:
            MissingTransform: A linear or an attention of the artifact is nowhere in it.
            UsageError: `triton` was asked for and something has no kernel.
        """
        if self._unclaimed:
            raise MissingTransform(
                f"vLLM's model has no layer '{min(self._unclaimed)}', which {self._artifact.path} serves; "
                "evaluate it with --engine hf."
            )
        if self.kernels is None:
            skeleton, settings = self._build(), get_current_vllm_config()
            switch = (settings.additional_config or {}).get(SETTINGS, {}).get("kernels", "auto")
            device = torch.device(current_platform.device_type)
            attached = skeleton.outcome.attached
            uses = serve_modules(skeleton, attached, device, settings.model_config.dtype, switch)
            self.kernels = summary(uses)

    def _build(self) -> Skeleton:
        if self.skeleton is None:
            settings = get_current_vllm_config()
            ablate = (settings.additional_config or {}).get(SETTINGS, {}).get("ablate", ())
            self.skeleton = build_skeleton(
                self._artifact,
                self._model_config or settings.model_config.hf_config,
                _host.get(None) or default_host(),
                settings.model_config.dtype,
                tuple(ablate),
                bits_of(settings.cache_config.cache_dtype),
            )
            if current_platform.is_cpu():
                keep_weights(self.skeleton)
            acting = (name for name, point in self.skeleton.attentions.items() if point.acts)
            self._unclaimed = {*self.skeleton.linears, *acting}
        return self.skeleton
