"""The engine `llama_cpp`: its bookkeeping against the transformers engine, and an honest error without the package.

A stand-in with the few members of `llama_cpp.Llama` that the engine uses runs the same weights in torch.
"""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from qharness.engines.base import EngineRequest, GenerationRequest, LikelihoodRequest
from qharness.engines.hf import HfEngine
from qharness.errors import UsageError
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness_iq2_xxs import engine as module
from qharness_iq2_xxs.export import write_gguf


class StandIn:
    """Keeps tokens up to `n_tokens`, as llama.cpp does, and computes logits of all of them."""

    model = None

    def __init__(self, path, n_ctx, **_):
        self.n_ctx, self.tokens, self.n_tokens, self.calls = n_ctx, [], 0, []

    def reset(self):
        self.n_tokens = 0

    def eval(self, tokens):
        self.calls.append(len(tokens))
        self.tokens = self.tokens[: self.n_tokens] + list(tokens)
        self.n_tokens = len(self.tokens)
        assert self.n_tokens <= self.n_ctx
        with torch.inference_mode():
            self.scores = type(self).model(torch.tensor([self.tokens])).logits[0].numpy().astype(np.single)

    def close(self):
        pass


@pytest.fixture
def engines(quantized, host, tmp_path, monkeypatch):
    path = write_gguf(quantized, tmp_path)
    package = ModuleType("llama_cpp")
    package.Llama = type("Llama", (StandIn,), {"model": load_model(LoadRequest(str(path), host)).model})
    monkeypatch.setitem(sys.modules, "llama_cpp", package)
    monkeypatch.setattr(module, "version", lambda name: "0")
    request = EngineRequest(str(path), host)
    return module.create(request), HfEngine(load_model(LoadRequest(str(path), host)), request)


def test_answers_are_those_of_the_transformers_engine(engines):
    ours, theirs = engines
    context = tuple(range(10, 60))
    requests = [
        LikelihoodRequest(context, (70,)),
        LikelihoodRequest(context, (71, 72, 73)),
        LikelihoodRequest(context[:5], (80, 81)),
        LikelihoodRequest(tuple(range(10, 130)), (5, 6)),
        LikelihoodRequest(context, (71, 72, 74)),
    ]
    for path in ("loglikelihood", "decode_loglikelihood"):
        found, wanted = (getattr(engine, path)(requests, lambda done, total: None) for engine in engines)
        assert [a.logprob for a in found] == pytest.approx([b.logprob for b in wanted], abs=1e-3)
        assert [a.is_greedy for a in found] == [b.is_greedy for b in wanted]
    prompts = [GenerationRequest(context, ("\n",), 8), GenerationRequest(tuple(range(10, 120)), (), 5)]
    answers = ours.generate(prompts, lambda done, total: None)
    assert answers == theirs.generate(prompts, lambda done, total: None)
    assert answers[1].finish == "length" and len(answers[1].tokens) == 5


def test_contexts_are_evaluated_once_and_the_decode_path_feeds_single_tokens(engines):
    ours, _ = engines
    context = tuple(range(10, 60))
    ours.loglikelihood([LikelihoodRequest(context, (i, 7)) for i in range(3)], lambda done, total: None)
    assert ours._model.calls == [51, 1, 1]
    ours._model.calls.clear()
    ours.decode_loglikelihood([LikelihoodRequest(context, (8, 7))], lambda done, total: None)
    assert ours._model.calls == [34] + [1] * 17


def test_without_the_package_the_error_names_it(quantized, host, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    request = EngineRequest(str(write_gguf(quantized, tmp_path)), host)
    with pytest.raises(UsageError, match="llama-cpp-python"):
        module.create(request)
    with pytest.raises(UsageError, match="--kv-bits"):
        module.create(EngineRequest("x.gguf", host, kv_bits=4))
