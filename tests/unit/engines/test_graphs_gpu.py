"""CUDA graphs: the replayed steps write what eager steps write."""

from __future__ import annotations

import pytest
import torch

from qharness.engines.base import EngineRequest, GenerationRequest, LikelihoodRequest
from qharness.engines.hf import Budgets, HfEngine

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
NARROW = Budgets(prefill=512, slots=700, rows=5, rounds=3)


def silent(done, total):
    pass


@pytest.fixture
def on_gpu(make_model, tokenizer):
    from qharness.models.loaded import LoadedModel

    def make(budgets=None, kv_bits=16, **settings):
        model = make_model(**settings).cuda()
        loaded = LoadedModel(model, tokenizer, "small", "digest", torch.float32)
        return HfEngine(loaded, EngineRequest("small", None, device="cuda", kv_bits=kv_bits), budgets)

    return make


def prompts():
    torch.manual_seed(5)
    lengths = (3, 60, 17, 44, 8, 90, 31, 5, 70, 29, 12, 51, 2, 66)
    return [GenerationRequest(tuple(torch.randint(3, 259, (n,)).tolist()), ("e", "J"), 24) for n in lengths]


@pytest.mark.parametrize("kv_bits", [16, 4])
@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("budgets", [None, NARROW], ids=["wide", "narrow"])
def test_graphs_write_what_eager_steps_write(on_gpu, budgets, window, kv_bits) -> None:
    engine = on_gpu(budgets, kv_bits, sliding_window=window)
    eager = on_gpu(budgets, kv_bits, sliding_window=window)
    eager._graphs = None
    written = engine.generate(prompts(), silent)
    assert not engine._graphs._impossible
    assert written == eager.generate(prompts(), silent)
    assert engine.generate(prompts(), silent) == written
    assert len({answer.finish for answer in written}) > 1


def test_gpu_scores_equal_those_of_a_cpu(on_gpu, make_engine) -> None:
    contexts = [request.prompt for request in prompts()]
    shared = tuple(range(3, 60))
    contexts += [(*shared, n, n + 1) for n in range(10)]
    asked = [LikelihoodRequest(context, k) for context in contexts for k in ((5,), (6, 7), (6, 8, 9))]
    want = make_engine().loglikelihood(asked, silent)
    for path in ("loglikelihood", "decode_loglikelihood"):
        got = getattr(on_gpu(NARROW), path)(asked, silent)
        assert [a.logprob for a in got] == pytest.approx([a.logprob for a in want], abs=2e-4)
