"""GGUF tensors as transformers weights: names, dequantization, and the row order of queries and keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from qharness.errors import CorruptArtifact, UnsupportedArchitecture

if TYPE_CHECKING:
    from transformers import LlamaConfig

    from qharness.models.gguf.reading import GgufFile

OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
ROPE_FACTORS = "rope_freqs.weight"
"""Divisors of the RoPE frequencies (Llama 3.1 and later), shape (head_dim / 2,)."""
_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


class NamedWeight(NamedTuple):
    """A weight under its name in transformers."""

    name: str
    weight: Tensor


def weights_of(file: GgufFile, config: LlamaConfig, dtype: torch.dtype) -> Iterator[NamedWeight]:
    """Yield all weights of the model in `dtype`, dequantized.

    Raises:
        UnsupportedArchitecture: A tensor has no place in a Llama model.
        CorruptArtifact: A tensor has an unexpected size or an unknown storage type.
    """
    for name in file.tensors:
        if name == ROPE_FACTORS:
            continue
        target = transformers_name(name)
        if target is None:
            raise UnsupportedArchitecture(
                f"{file.path} holds the tensor '{name}', which has no place in a Llama model."
            )
        weight = dequantized(file, name)
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
        kind = name.split(".")[-2]
        if kind in heads:
            weight = unpermuted(weight, heads[kind])
        yield NamedWeight(target, weight.to(dtype))


def transformers_name(name: str) -> str | None:
    """Return the name in transformers of a GGUF tensor, None if there is none."""
    block = _BLOCK.fullmatch(name)
    if block:
        layer, kind, part = block.groups()
        return f"model.layers.{layer}.{INNER[kind]}.{part}" if kind in INNER else None
    kind, _, part = name.rpartition(".")
    return f"{OUTER[kind]}.{part}" if kind in OUTER and part == "weight" else None


def gguf_name(name: str) -> str | None:
    """Return the name in GGUF files of a weight of transformers, None if there is none."""
    inner = {target: kind for kind, target in INNER.items()}
    outer = {target: kind for kind, target in OUTER.items()}
    module, _, part = name.rpartition(".")
    block = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", module)
    if block:
        return f"blk.{block[1]}.{inner[block[2]]}.{part}" if block[2] in inner else None
    return f"{outer[module]}.{part}" if module in outer else None


def dequantized(file: GgufFile, name: str) -> Tensor:
    """Return a tensor as float32 in its row-major shape.

    Raises:
        CorruptArtifact: The library does not know the storage type.
    """
    from gguf.quants import dequantize

    stored = file.tensors[name]
    try:
        values = dequantize(stored.data, stored.tensor_type)
    except (NotImplementedError, ValueError) as error:
        raise CorruptArtifact(
            f"{file.path} stores '{name}' as {stored.tensor_type.name}, which the gguf library does not dequantize."
        ) from error
    shape = [int(size) for size in reversed(stored.shape)]
    return torch.from_numpy(values.copy()).to(torch.float32).reshape(shape)


def unpermuted(weight: Tensor, heads: int) -> Tensor:
    """Undo llama.cpp's row order of queries and keys.

    llama.cpp rotates neighbouring rows (0, 1), (2, 3), ...; transformers rotates row i with row i + head_dim / 2.

    Args:
        weight: Shape (heads * head_dim, inputs), or (heads * head_dim,) for a bias.
        heads: Number of heads.
    """
    size = weight.shape[0] // heads // 2
    return weight.reshape(heads, size, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def permuted(rows: Tensor, heads: int) -> Tensor:
    """Put rows of queries and keys, or their stored blocks, into llama.cpp's order; undone by `unpermuted`.

    Args:
        rows: Shape (heads * head_dim, ...).
        heads: Number of heads.
    """
    size = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, size, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def divide_frequencies(model: torch.nn.Module, factors: Tensor) -> None:
    """Divide the RoPE frequencies of a Llama model by the factors of its GGUF file."""
    rotary = model.get_submodule("model.rotary_emb")
    for name in ("inv_freq", "original_inv_freq"):
        frequencies = getattr(rotary, name, None)
        if isinstance(frequencies, Tensor):
            setattr(rotary, name, frequencies / factors.to(frequencies.device))
