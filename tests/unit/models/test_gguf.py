"""GGUF files written here by the gguf library, read back by the loader."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from qharness.errors import CorruptArtifact, UnsupportedArchitecture
from qharness.models.gguf.config import config_of
from qharness.models.gguf.reading import open_gguf
from qharness.models.gguf.tensors import INNER, OUTER, transformers_name, unpermuted, weights_of

NAMES = {target: name for name, target in (INNER | OUTER).items()}


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp's row order: rows i and i + head_dim / 2 become neighbours."""
    size = weight.shape[0] // heads
    rows = [head * size + i + j * size // 2 for head in range(heads) for i in range(size // 2) for j in (0, 1)]
    return weight[rows]


def gguf_name(name: str) -> str:
    stem, _, part = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, layer, kind = stem.split(".", 3)
        return f"blk.{layer}.{NAMES[kind]}.{part}"
    return f"{NAMES[stem]}.{part}"


@pytest.fixture
def write(tmp_path, make):
    def write(architecture="llama", kind=gguf.GGMLQuantizationType.F32, skip=()):
        model = make("llama")
        config = model.config
        path = tmp_path / f"{kind.name}.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_context_length(config.max_position_embeddings)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        for name, weight in model.state_dict().items():
            if "q_proj" in name:
                weight = permuted(weight, config.num_attention_heads)
            if "k_proj" in name:
                weight = permuted(weight, config.num_key_value_heads)
            if name not in skip:
                stored = kind if weight.dim() == 2 else gguf.GGMLQuantizationType.F32
                data = gguf.quants.quantize(weight.numpy().astype(np.float32), stored)
                writer.add_tensor(gguf_name(name), data, raw_dtype=stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path, model

    return write


def test_weights_and_config_come_back(write) -> None:
    path, model = write()
    file = open_gguf(path)
    config = config_of(file)
    for name in ("hidden_size", "intermediate_size", "num_key_value_heads", "head_dim", "rms_norm_eps", "vocab_size"):
        assert getattr(config, name) == pytest.approx(getattr(model.config, name))
    weights = dict(weights_of(file, config, torch.float32))
    want = model.state_dict()
    assert set(weights) == set(want)
    assert all(torch.equal(weights[name], want[name]) for name in want)


def test_quantized_types_are_dequantized(write) -> None:
    path, model = write(kind=gguf.GGMLQuantizationType.Q8_0)
    file = open_gguf(path)
    assert file.types()[0] == "Q8_0"
    weights = dict(weights_of(file, config_of(file), torch.float32))
    want = model.state_dict()["model.layers.0.self_attn.q_proj.weight"]
    got = weights["model.layers.0.self_attn.q_proj.weight"]
    assert 0 < float((got - want).abs().max()) <= float(want.abs().max()) / 127


def test_unpermuted_undoes_permuted() -> None:
    weight = torch.arange(24.0)[:, None].expand(24, 3)
    assert torch.equal(unpermuted(permuted(weight, 3), 3), weight)


def test_unknown_architecture_is_refused(write) -> None:
    path, _ = write(architecture="bloom")
    with pytest.raises(UnsupportedArchitecture, match="bloom"):
        config_of(open_gguf(path))


@pytest.mark.parametrize("part", [0.2, 0.9])
def test_truncated_file_is_refused(write, part) -> None:
    path, _ = write()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(CorruptArtifact, match="truncated"):
        open_gguf(path)


def test_other_files_are_refused(tmp_path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("no model")
    with pytest.raises(CorruptArtifact, match="no GGUF file"):
        open_gguf(path)


def test_digest_depends_on_the_tensors(write) -> None:
    assert open_gguf(write()[0]).digest() != open_gguf(write(kind=gguf.GGMLQuantizationType.F16)[0]).digest()


def test_unplaced_tensors_have_no_name() -> None:
    assert transformers_name("blk.3.ffn_gate_exps.weight") is None
    assert transformers_name("blk.3.attn_q.bias") == "model.layers.3.self_attn.q_proj.bias"
