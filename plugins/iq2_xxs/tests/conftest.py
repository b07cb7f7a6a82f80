from __future__ import annotations

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from qharness.host import Host
from qharness.models.hub import load_tokenizer
from qharness.models.loaded import LoadedModel
from qharness_demo import MODEL_DIR
from qharness_iq2_xxs.linear import BlockLinear
from qharness_iq2_xxs.options import Options
from qharness_iq2_xxs.quantizer import encode


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def host() -> Host:
    return Host()


@pytest.fixture(scope="session")
def quantized() -> LoadedModel:
    """A small model of all four types, with the demo's tokenizer."""
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=2048,
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=96,
        sliding_window=None,
        tie_word_embeddings=False,
    )
    model = MistralForCausalLM(config).eval().requires_grad_(False)
    for block in model.model.layers:
        for norm in (block.input_layernorm, block.post_attention_layernorm):
            norm.weight.data = 1 + 0.1 * torch.randn(256)
        kinds = {"q_proj": "IQ2_XXS", "k_proj": "IQ4_NL", "v_proj": "Q4_K", "o_proj": "IQ2_XXS"}
        for parent, names in ((block.self_attn, kinds), (block.mlp, {"gate_proj": "IQ2_XXS", "down_proj": "Q2_K"})):
            for name, kind in names.items():
                weight = 3 * getattr(parent, name).weight
                blocks = encode(weight, torch.ones(256), kind, Options(feedback=False, passes=0))
                setattr(parent, name, BlockLinear(blocks, kind, None))
    tokenizer = load_tokenizer(str(MODEL_DIR), local=True)
    return LoadedModel(model, tokenizer, "small", "digest", torch.float32)
