"""GGUF files from models: blocks as they are stored, everything else unquantized."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from qharness.errors import UnsupportedArchitecture, UsageError
from qharness.models.architecture import architecture_of, head_dim_of
from qharness.models.gguf.reading import TOKENIZER_SHA256
from qharness.models.gguf.tensors import ROPE_FACTORS, gguf_name, permuted
from qharness_iq2_xxs.linear import BlockLinear
from qharness_iq2_xxs.mix import EMBEDDING, FALLBACK, HEAD, SUPERBLOCK
from qharness_iq2_xxs.options import Options
from qharness_iq2_xxs.quantizer import encode
from qharness_iq2_xxs.vocabulary import add_tokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PretrainedConfig, PreTrainedModel

    from qharness.jobs.export import ExportRequest
    from qharness.models.loaded import LoadedModel

MODEL = "model.gguf"
TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def export(request: ExportRequest, *, is_small: bool = False) -> None:
    """Write an artifact as model.gguf, with its tokenizer beside it.

    Args:
        request: What to write and where.
        is_small: Quantize embedding and head as well.

    Raises:
        UsageError: The tokenizer or a runtime transform cannot be expressed.
        UnsupportedArchitecture: The RoPE scaling is not known.
    """
    from qharness.models.loaded import LoadRequest
    from qharness.models.loading import load_model

    loaded = load_model(LoadRequest(str(request.path), request.host, dtype="auto"))
    write_gguf(loaded, request.out, is_small=is_small)


def write_gguf(loaded: LoadedModel, folder: Path, *, is_small: bool = False) -> Path:
    """Write a loaded model and its tokenizer into a folder; return the GGUF file.

    Quantized linears keep their blocks, norms become float32, all other weights keep their own type, unless embedding
    and head are to be small: then they get the types of llama.cpp's mix.

    Raises:
        UsageError: The tokenizer or a runtime transform cannot be expressed.
        UnsupportedArchitecture: The RoPE scaling is not known.
    """
    from gguf import GGUFWriter

    if loaded.transforms or loaded.ablated:
        names = sorted({transform.entry.id for transform in loaded.transforms} | set(loaded.ablated))
        raise UsageError(f"llama.cpp has no runtime transforms; {loaded.reference} needs {', '.join(names)}.")
    path = folder / MODEL
    writer = GGUFWriter(path, "llama")
    try:
        _add_settings(writer, loaded.model, Path(loaded.reference).name)
        add_tokenizer(writer, loaded.tokenizer, loaded.model.config.vocab_size)
        loaded.tokenizer.save_pretrained(folder)
        digest = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
        writer.add_string(TOKENIZER_SHA256, digest)
        _add_tensors(writer, loaded.model, is_small)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return path


def _add_settings(writer: GGUFWriter, model: PreTrainedModel, name: str) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    architecture_of(model.config)
    config, head = model.config, head_dim_of(model.config)
    writer.add_name(name)
    writer.add_vocab_size(config.vocab_size)
    # llama.cpp ignores the sliding window of this architecture: within it, both compute the same.
    window = getattr(config, "sliding_window", None)
    writer.add_context_length(min(config.max_position_embeddings, window or config.max_position_embeddings))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    _add_rope(writer, config, model, head)
    if any(isinstance(module, BlockLinear) for module in model.modules()):
        writer.add_file_type(LlamaFileType.MOSTLY_IQ2_XXS)
        writer.add_quantization_version(GGML_QUANT_VERSION)


def _add_rope(writer: GGUFWriter, config: PretrainedConfig, model: PreTrainedModel, head: int) -> None:
    from gguf import RopeScalingType

    rope: dict[str, Any] = config.rope_parameters
    kind, base = rope.get("rope_type", "default"), float(rope["rope_theta"])
    writer.add_rope_freq_base(base)
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif kind == "llama3":
        plain = base ** -(torch.arange(0, head, 2, dtype=torch.float64) / head)
        scaled = model.get_submodule("model.rotary_emb").get_buffer("inv_freq").double().cpu()
        writer.add_tensor(ROPE_FACTORS, (plain / scaled).float().numpy())
    elif kind != "default":
        raise UnsupportedArchitecture(f"RoPE scaled by '{kind}' has no place in the GGUF files of this architecture.")


def _add_tensors(writer: GGUFWriter, model: PreTrainedModel, is_small: bool) -> None:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    names, config = architecture_of(model.config), model.config
    heads = {names.q: config.num_attention_heads, names.k: config.num_key_value_heads}
    tied = names.module(model, names.head).weight is names.module(model, names.embedding).weight

    def add(module: str, part: str, values: Tensor, kind: str | None = None) -> None:
        target = gguf_name(f"{module}.{part}")
        if target is None:
            raise UnsupportedArchitecture(f"'{module}.{part}' has no place in a GGUF file of a Llama model.")
        count = next((number for name, number in heads.items() if module.endswith(f".{name}")), None)
        rows = values.detach().cpu() if count is None else permuted(values.detach().cpu(), count)
        stored = GGMLQuantizationType[kind or ("F32" if rows.dim() == 1 else TYPES[rows.dtype])]
        raw = rows.numpy() if kind else quantize(np.ascontiguousarray(rows.float().numpy()), stored)
        writer.add_tensor(target, np.ascontiguousarray(raw), raw_dtype=stored)

    outer = {names.embedding: HEAD if tied else EMBEDDING, names.head: HEAD} if is_small else {}
    for name, module in model.named_modules():
        if name in outer and not (tied and name == names.head):
            weight = module.get_parameter("weight").detach().float()
            kind = outer[name] if weight.shape[1] % SUPERBLOCK == 0 else FALLBACK
            importance = torch.ones(weight.shape[1], device=weight.device)
            blocks = encode(weight, importance, kind, Options(feedback=False, passes=0, unbiased=False))
            add(name, "weight", blocks, kind)
        elif isinstance(module, BlockLinear):
            add(name, "weight", module.get_buffer("blocks"), module.kind)
        elif isinstance(weight := getattr(module, "weight", None), Tensor) and not (tied and name == names.head):
            add(name, "weight", weight)
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor) and isinstance(module, BlockLinear | nn.Linear):
            add(name, "bias", bias)
