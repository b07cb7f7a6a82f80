from __future__ import annotations

import copy
import logging

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from qharness.engines.base import EngineRequest
from qharness.engines.hf import HfEngine
from qharness.models.loaded import LoadedModel


def byte_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[character] = len(vocabulary)
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def small_model(**settings) -> MistralForCausalLM:
    """Return a random model whose greedy texts vary: large weights, few tokens."""
    torch.manual_seed(0)
    base = {"vocab_size": 259, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    rest = {"sliding_window": None, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.1}
    return MistralForCausalLM(MistralConfig(**(base | heads | rest | settings))).eval()


def untouched(model) -> MistralForCausalLM:
    """Return a copy with stock attention: an engine switches the attention function of its own model."""
    twin = copy.deepcopy(model)
    twin.set_attn_implementation("sdpa")
    return twin


def loaded_of(model, tokenizer, digest="digest") -> LoadedModel:
    return LoadedModel(model=model, tokenizer=tokenizer, reference="small", digest=digest, dtype=torch.float32)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny matrices gain nothing from threads, and lose much where tests run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer():
    return byte_tokenizer()


@pytest.fixture(scope="session")
def model():
    return small_model()


@pytest.fixture
def make_engine(model, tokenizer):
    def make(cache=None, budgets=None, model=model, digest="digest"):
        return HfEngine(loaded_of(model, tokenizer, digest), EngineRequest("small", None, cache=cache), budgets)

    return make


@pytest.fixture
def engine(make_engine):
    return make_engine()


@pytest.fixture(scope="session")
def stock(model, tokenizer):
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return HFLM(pretrained=untouched(model), tokenizer=tokenizer, batch_size=1)


@pytest.fixture(scope="session")
def make_model():
    return small_model


@pytest.fixture
def count_passes():
    """Record the shapes of an engine's forward passes."""

    def count(engine):
        calls = []
        inner = engine._forward.hidden

        def hidden(*args, **kwargs):
            calls.append(args[0].shape)
            return inner(*args, **kwargs)

        engine._forward.hidden = hidden
        return calls

    return count


@pytest.fixture(scope="session")
def make_untouched():
    return untouched
