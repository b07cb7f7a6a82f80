"""The quantized key-value cache: its rounding, and who reads it."""

from __future__ import annotations

import pytest
import torch

from qharness.engines.base import EngineRequest, GenerationRequest, LikelihoodRequest
from qharness.engines.hf import Budgets, HfEngine
from qharness.kv.rounding import GROUP, KvRounding, group_of, kv_rounding, round_groups
from qharness_kernels.hadamard import hadamard_transform

GPU_LIKE = Budgets(prefill=64, slots=400, rows=8)


def silent(done, total):
    pass


@pytest.fixture
def make(model, tokenizer):
    from qharness.models.loaded import LoadedModel

    def make(bits, prefill="invisible", budgets=None, cache=None, ablated=()):
        loaded = LoadedModel(model, tokenizer, "small", "digest", torch.float32, ablated=ablated)
        return HfEngine(loaded, EngineRequest("small", None, kv_bits=bits, kv_prefill=prefill, cache=cache), budgets)

    return make


def requests():
    torch.manual_seed(3)
    prompts = [tuple(torch.randint(3, 259, (n,)).tolist()) for n in (24, 31, 40)]
    return [LikelihoodRequest(p, c) for p in prompts for c in ((5, 9, 11), (5, 9, 12), (7,))]


def scores(engine, path="loglikelihood"):
    return torch.tensor([answer.logprob for answer in getattr(engine, path)(requests(), silent)])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rounding_has_few_levels_and_half_a_step_of_error(bits):
    torch.manual_seed(0)
    states = torch.randn(2, 3, 5, 128)
    rounded = round_groups(states, bits).unflatten(-1, (-1, GROUP))
    grouped = states.unflatten(-1, (-1, GROUP))
    step = (grouped.amax(-1) - grouped.amin(-1)) / (2**bits - 1)
    # The step and the smallest value are float16 numbers, so the largest level may be off by their rounding.
    assert bool(((rounded - grouped).abs().amax(-1) <= 0.5 * step + 2**-9 * grouped.abs().amax(-1)).all())
    assert max(len(group.unique()) for group in rounded.flatten(0, -2)) <= 2**bits


def test_a_token_is_rounded_alike_whatever_stands_beside_it():
    torch.manual_seed(1)
    states = torch.randn(1, 2, 9, 32)
    whole = round_groups(states, 2)
    assert torch.equal(whole[:, :, 4:5], round_groups(states[:, :, 4:5], 2))


def test_groups_divide_the_head():
    assert [group_of(size) for size in (16, 64, 80, 96, 128)] == [16, 64, 40, 48, 64]
    assert kv_rounding(16, "visible") is None
    with pytest.raises(Exception, match="16, 8, 4 or 2 bits"):
        KvRounding(3)


@pytest.mark.parametrize("bits", [4, 2])
def test_a_hadamard_transform_of_both_sides_helps_keys_with_outliers(bits):
    """Facts of QuaRot (arXiv 2404.00456, section 4): outlier channels of keys spoil their heads' steps."""
    torch.manual_seed(2)
    keys, queries = torch.randn(64, 64), torch.randn(64, 64)
    keys[:, :3] *= 12
    exact = queries @ keys.T
    plain = queries @ round_groups(keys, bits).T
    rotated = hadamard_transform(queries) @ round_groups(hadamard_transform(keys), bits).T

    def error(found):
        return float((found - exact).norm() / exact.norm())

    assert error(rotated) < 0.8 * error(plain)


@pytest.mark.parametrize("budgets", [None, GPU_LIKE])
def test_invisible_leaves_prefill_alone_to_the_last_bit_and_moves_the_decode_path(make, budgets):
    exact, rounded = make(16, budgets=budgets), make(2, budgets=budgets)
    assert torch.equal(scores(exact), scores(rounded))
    gap = (scores(exact, "decode_loglikelihood") - scores(rounded, "decode_loglikelihood")).abs()
    assert gap.mean() > 0.05
    fine = scores(make(8, budgets=budgets), "decode_loglikelihood") - scores(exact, "decode_loglikelihood")
    assert 0 < fine.abs().mean() < gap.mean() / 5


@pytest.mark.parametrize("budgets", [None, GPU_LIKE])
@pytest.mark.parametrize("bits", [2, 4])
def test_visible_makes_prefill_and_decode_path_read_the_same(make, bits, budgets):
    exact, rounded = scores(make(16, budgets=budgets)), make(bits, "visible", budgets)
    prefill, decode = scores(rounded), scores(rounded, "decode_loglikelihood")
    assert torch.allclose(prefill, decode, atol=1e-4)
    assert (prefill - exact).abs().mean() > 0.02


def reference(model, prompt, count, rounding):
    """Greedy tokens by whole passes without a cache, rounding in the attention function."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    def attend(module, query, key, value, mask, **kwargs):
        return sdpa_attention_forward(module, query, rounding.keys(key), rounding.values(value), mask, **kwargs)

    AttentionInterface.register("rounding_reference", attend)
    AttentionMaskInterface.register("rounding_reference", sdpa_mask)
    model.set_attn_implementation("rounding_reference")
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            tokens.append(int(model(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
    return tuple(tokens[len(prompt) :])


@pytest.mark.parametrize("budgets", [None, GPU_LIKE])
def test_greedy_texts_are_those_of_an_independent_implementation(make, make_untouched, model, budgets):
    prompts = [request.context for request in requests()[::3]]
    asked = [GenerationRequest(prompt, (), 20) for prompt in prompts]
    found = make(4, "visible", budgets).generate(asked, silent)
    twin = make_untouched(model)
    expected = [reference(twin, prompt, 20, KvRounding(4, "visible")) for prompt in prompts]
    assert [answer.tokens for answer in found] == [e[: len(a.tokens)] for a, e in zip(found, expected, strict=True)]


def test_the_first_token_of_a_text_is_the_exact_models_in_invisible(make):
    asked = [GenerationRequest(request.context, (), 12) for request in requests()[::3]]
    exact, rounded = (make(bits).generate(asked, silent) for bits in (16, 2))
    assert [a.tokens[0] for a in exact] == [a.tokens[0] for a in rounded]
    assert [a.tokens for a in exact] != [a.tokens for a in rounded]


def test_caches_of_different_kinds_do_not_share_answers(make):
    kinds = [make(bits, prefill).identity for bits in (16, 8, 4, 2) for prefill in ("visible", "invisible")]
    assert len({str(sorted(identity.items())) for identity in kinds}) == 7


def test_prefill_answers_are_shared_with_the_exact_cache_where_prefill_cannot_see_it(make, count_passes, tmp_path):
    expected = scores(make(16, cache=tmp_path))
    for bits, ablated in ((8, ()), (2, ()), (2, ("r3",))):
        engine = make(bits, cache=tmp_path, ablated=ablated)
        calls = count_passes(engine)
        assert torch.equal(scores(engine), expected) and calls == []
        scores(engine, "decode_loglikelihood")
        assert calls
        assert engine.identity["kv_bits"] == bits and engine.identity["ablation"] == list(ablated)


@pytest.mark.parametrize(
    "other", [{"prefill": "visible"}, {"ablated": ("r4@layers=1",)}, {"ablated": ("r3:q_post_rope",)}]
)
def test_prefill_answers_are_not_shared_where_something_differs(make, count_passes, tmp_path, other):
    scores(make(16, cache=tmp_path))
    engine = make(2, cache=tmp_path, **other)
    calls = count_passes(engine)
    scores(engine)
    assert calls
