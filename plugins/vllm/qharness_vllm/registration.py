"""The entry point of `vllm.general_plugins`: every process of vLLM learns to read artifacts."""

from __future__ import annotations

from qharness.artifacts.layout import METHOD


def register() -> None:
    """Register the quantization method with vLLM; may be called again."""
    from vllm.model_executor.layers.quantization import register_quantization_config

    from qharness_vllm.quantization import ArtifactConfig

    register_quantization_config(METHOD)(ArtifactConfig)
