"""Registration with transformers: `import qharness.hf` lets `from_pretrained` load artifacts of qharness.

The model that comes back has its quantized linears and its runtime transforms; if a required transform cannot be
attached, `from_pretrained` raises. Without this import, transformers skips the quantization of a method it does not
know and reports missing weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from qharness.artifacts.install import install, linear_class, reserve
from qharness.artifacts.layout import FORMAT_VERSION, METHOD
from qharness.artifacts.reader import Artifact, read_artifact
from qharness.errors import CorruptArtifact
from qharness.host import Host, default_host
from qharness.transforms.attach import AttachOutcome, attach_transforms

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OUTCOME = "qharness_outcome"
"""Attribute of a loaded model with the `AttachOutcome` of its transforms."""


@dataclass(frozen=True)
class LoadingOptions:
    """How artifacts are loaded by `from_pretrained`.

    Attributes:
        host: Registry of quantizers and transforms; the process-wide one if None.
        ablate: Runtime transforms that are deliberately left out.
        kv_bits: Width of the key-value cache.
    """

    host: Host | None = None
    ablate: tuple[str, ...] = ()
    kv_bits: int = 16


_options: ContextVar[LoadingOptions] = ContextVar("qharness_loading_options")


@contextmanager
def loading_options(options: LoadingOptions) -> Iterator[None]:
    """Load artifacts with these options inside the `with` block."""
    token = _options.set(options)
    try:
        yield
    finally:
        _options.reset(token)


def current_options() -> LoadingOptions:
    """Return the options of the innermost `loading_options` block, or the defaults."""
    return _options.get(LoadingOptions())


@register_quantization_config(METHOD)
class QharnessConfig(QuantizationConfigMixin):
    """`quantization_config` of an artifact."""

    def __init__(
        self,
        plugin: str = "",
        plugin_version: str = "",
        format_version: int = FORMAT_VERSION,
        options: dict[str, Any] | None = None,
        modules: dict[str, Any] | None = None,
        transforms: list[Any] | None = None,
        quant_method: str = METHOD,
    ) -> None:
        self.quant_method = quant_method
        self.plugin = plugin
        self.plugin_version = plugin_version
        self.format_version = format_version
        self.options = options or {}
        self.modules = modules or {}
        self.transforms = transforms or []


@register_quantizer(METHOD)
class QharnessHfQuantizer(HfQuantizer):
    """Loads artifacts of qharness inside `from_pretrained`."""

    requires_calibration = True
    artifact: Artifact

    def _process_model_before_weight_loading(
        self, model: PreTrainedModel, checkpoint_files: list[str] | None = None, **kwargs: Any
    ) -> PreTrainedModel:
        if not checkpoint_files:
            raise CorruptArtifact("The artifact has no weights; quantize again.")
        folder = Path(checkpoint_files[0]).parent
        self.artifact = read_artifact(folder)
        self._linear = linear_class(self.artifact, self._host())
        reserve(model, self.artifact)
        prefixes = {rf"^{re.escape(name)}\." for name in self.artifact.modules}
        model._keys_to_ignore_on_load_unexpected = prefixes | set(model._keys_to_ignore_on_load_unexpected or ())
        return model

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> PreTrainedModel:
        options = current_options()
        install(model, self.artifact, self._linear, model.dtype)
        # Quantized linears are placed where the rest of the model is: they were not in transformers' device map.
        for name in self.artifact.modules:
            model.get_submodule(name).to(model.device)
        tensors = self.artifact.transform_tensors()
        entries = self.artifact.transforms
        outcome = attach_transforms(model, entries, tensors, self._host(), options.ablate, options.kv_bits)
        object.__setattr__(model, OUTCOME, outcome)
        return model

    def _host(self) -> Host:
        return current_options().host or default_host()

    def is_serializable(self) -> bool:
        """Return False: `save_pretrained` would drop the manifest; copy the artifact's folder instead."""
        return False

    @property
    def is_trainable(self) -> bool:
        """Return False."""
        return False


def outcome_of(model: PreTrainedModel) -> AttachOutcome:
    """Return what became of the transforms of a model that `from_pretrained` loaded from an artifact."""
    outcome: AttachOutcome = getattr(model, OUTCOME)
    return outcome


__all__ = ["LoadingOptions", "QharnessConfig", "QharnessHfQuantizer", "loading_options", "outcome_of"]
