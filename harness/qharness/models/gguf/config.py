"""The transformers configuration of a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qharness.errors import CorruptArtifact, UnsupportedArchitecture

if TYPE_CHECKING:
    from transformers import LlamaConfig

    from qharness.models.gguf.reading import GgufFile

ARCHITECTURE = "llama"
"""Llama and Mistral models both bear this name in GGUF files."""


class _Settings:
    """The settings of the architecture, with an error that names what is missing."""

    def __init__(self, file: GgufFile) -> None:
        self._file = file

    def __getitem__(self, key: str) -> Any:
        name = f"{ARCHITECTURE}.{key}"
        if name not in self._file.metadata:
            raise CorruptArtifact(f"{self._file.path} lacks the setting '{name}'; convert the model again.")
        return self._file.metadata[name]

    def get(self, key: str, default: Any) -> Any:
        return self._file.metadata.get(f"{ARCHITECTURE}.{key}", default)


def config_of(file: GgufFile) -> LlamaConfig:
    """Return the configuration.

    Raises:
        UnsupportedArchitecture: It is not a dense Llama or Mistral, or it scales RoPE in a way that is not known.
        CorruptArtifact: A setting is missing.
    """
    from transformers import LlamaConfig

    name = file.metadata.get("general.architecture")
    if name != ARCHITECTURE:
        raise UnsupportedArchitecture(
            f"{file.path} has the architecture '{name}'; GGUF files are read for: {ARCHITECTURE} (Llama and Mistral)."
        )
    settings = _Settings(file)
    if settings.get("expert_count", 0):
        raise UnsupportedArchitecture(f"{file.path} is a mixture of experts; only dense models are supported.")
    if "token_embd.weight" not in file.tensors:
        raise CorruptArtifact(f"{file.path} lacks the tensor 'token_embd.weight'; download it again.")
    heads = int(settings["attention.head_count"])
    hidden = int(settings["embedding_length"])
    return LlamaConfig(
        vocab_size=int(file.tensors["token_embd.weight"].shape[1]),
        hidden_size=hidden,
        intermediate_size=int(settings["feed_forward_length"]),
        num_hidden_layers=int(settings["block_count"]),
        num_attention_heads=heads,
        num_key_value_heads=int(settings.get("attention.head_count_kv", heads)),
        head_dim=int(settings.get("attention.key_length", hidden // heads)),
        max_position_embeddings=int(settings["context_length"]),
        rms_norm_eps=float(settings["attention.layer_norm_rms_epsilon"]),
        rope_parameters=_rope(file, settings),
        attention_bias="blk.0.attn_q.bias" in file.tensors,
        mlp_bias="blk.0.ffn_up.bias" in file.tensors,
        tie_word_embeddings="output.weight" not in file.tensors,
        **_special_tokens(file.metadata),
    )


def _rope(file: GgufFile, settings: _Settings) -> dict[str, Any]:
    base = float(settings.get("rope.freq_base", 10000.0))
    kind = settings.get("rope.scaling.type", "none")
    if kind == "none":
        return {"rope_type": "default", "rope_theta": base}
    if kind == "linear":
        return {"rope_type": "linear", "rope_theta": base, "factor": float(settings["rope.scaling.factor"])}
    raise UnsupportedArchitecture(f"{file.path} scales RoPE by '{kind}'; only 'none' and 'linear' are supported.")


def _special_tokens(metadata: Mapping[str, Any]) -> dict[str, int | None]:
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    return {key: metadata.get(f"tokenizer.ggml.{name}_token_id") for key, name in names.items()}
