from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from qharness.host import Host

VOCABULARY = 96
SIZES = dict(
    vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)  # fmt: skip


def _load(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    # The tensors are tiny: threads that wait for each other cost more than they bring.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def toy():
    return sys.modules.get("toy_plugin") or _load("toy_plugin", Path(__file__).parent / "toy_plugin.py")


@pytest.fixture(scope="session")
def host(toy) -> Host:
    from qharness import builtin

    plain = Host()
    missing = {} if any(status.name == "builtin" for status in plain.status) else {"builtin": builtin}
    return Host(extra={**missing, "toy": toy})


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3} | {f"w{i}": i for i in range(4, VOCABULARY)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def make_model(family: str = "mistral", attention: str = "sdpa", seed: int = 0, **changes):
    torch.manual_seed(seed)
    if family == "mistral":
        model = MistralForCausalLM(MistralConfig(**{**SIZES, "sliding_window": None, **changes}))
    else:
        model = LlamaForCausalLM(LlamaConfig(**{**SIZES, **changes}))
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "embed" not in name:
            torch.nn.init.normal_(parameter, std=0.15)
    model.set_attn_implementation(attention)
    return model.eval()


@pytest.fixture
def make():
    return make_model


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(4, VOCABULARY, (2, 24), generator=torch.Generator().manual_seed(7))
