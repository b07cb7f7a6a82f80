"""AWQ: folding is exact, the search helps where channels differ, the whole model survives better than with RTN."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus
from qharness.calibration.store import collect_hessians
from qharness.errors import MissingData
from qharness.host import Host
from qharness.models.architecture import architecture_of
from qharness.models.loaded import LoadedModel
from qharness.quantization.base import LinearContext, ModelContext
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness.rounding.grid import GridSpec
from qharness.testing.prepared import assert_maps_hessians, make_uneven
from qharness.testing.problems import make_problem
from qharness_awq.options import Options
from qharness_awq.places import Place, fold, places
from qharness_awq.quantizer import Awq
from qharness_awq.search import search_scales

TOKENS = torch.randint(0, 96, (8, 32), generator=torch.Generator().manual_seed(1))


def _model(kv_heads=2, bias=True):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        max_position_embeddings=64,
        attention_bias=bias,
        mlp_bias=bias,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    make_uneven(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter[::16] *= 12
    return model


@pytest.fixture(scope="module")
def host():
    return Host()


def _logits(model):
    with torch.no_grad():
        return model(TOKENS).logits.double()


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("index", range(4), ids=["qkv", "v_to_o", "gate_up", "up_to_down"])
def test_folding_any_scales_keeps_the_model(kv_heads, index):
    model = _model(kv_heads)
    changed = copy.deepcopy(model).double()
    place = places(architecture_of(model.config), model.config)[index]
    for block in changed.model.layers:
        size = block.get_submodule(place.source).weight.shape[0]
        fold(block, place, torch.rand(size, generator=torch.Generator().manual_seed(index)) * 8 + 0.1)
    for name in place.linears:
        assert not torch.allclose(changed.model.layers[0].get_submodule(name).weight.float(), model.get_submodule(
            f"model.layers.0.{name}"
        ).weight)  # fmt: skip
    assert torch.allclose(_logits(changed), _logits(copy.deepcopy(model).double()), atol=1e-9)


def _prepare(model, options=Options(clip_steps=8, scale_steps=6), hessians=None):  # noqa: B008 - frozen
    context = ModelContext(architecture_of(model.config), TOKENS, 0, "cpu", None, lambda *_: None, hessians)
    return Awq(options).prepare(model, context)


def test_prepared_model_is_the_original_with_the_mapped_hessians():
    model = _model()
    changed = copy.deepcopy(model)
    prepared = _prepare(changed)
    assert not prepared.transforms
    assert torch.allclose(_logits(changed), _logits(model), atol=2e-3)
    ratios = prepared.notes["error_ratio"].values()
    assert len(ratios) == 8 and max(ratios) <= 1 and sum(ratios) / 8 < 0.9
    assert_maps_hessians(prepared, model, changed, TOKENS)


def test_stored_hessians_give_the_same_scales_as_text(tmp_path):
    model = _model()
    loaded = LoadedModel(copy.deepcopy(model), None, "small", model_digest(model), torch.float32)
    store = collect_hessians(loaded, Corpus(TOKENS, "noise"), tmp_path / "hessians")
    walked, stored = copy.deepcopy(model), copy.deepcopy(model)
    _prepare(walked)
    _prepare(stored, hessians=store)
    for (name, left), right in zip(walked.named_parameters(), stored.parameters(), strict=True):
        assert torch.allclose(left, right, rtol=1e-4, atol=1e-6), name


def test_the_search_needs_text_or_hessians():
    model = _model()
    context = ModelContext(architecture_of(model.config), torch.empty(0, 0), 0, "cpu", None, lambda *_: None)
    with pytest.raises(MissingData, match="--text"):
        Awq(Options()).prepare(model, context)
    assert Awq(Options(scale_steps=0)).prepare(model, context).hessian_map is None


def test_the_search_finds_what_loud_channels_need():
    problem = make_problem(64, 128, bias=False)
    loud = torch.ones(128)
    loud[5::32] = 30.0
    hessian = problem.hessian * loud * loud[:, None]
    place = Place("norm", ("linear",))
    weight = problem.linear.weight.detach()
    found = search_scales(place, [weight], hessian, GridSpec(2), 64, 10)
    assert found.loss < 0.7 * found.loss_unscaled
    assert found.scales[5::32].min() > 1.5 * found.scales.median()
    none = search_scales(place, [weight], hessian, GridSpec(2), 64, 0)
    assert torch.equal(none.scales, torch.ones(128)) and none.loss == none.loss_unscaled == found.loss_unscaled


def test_clipping_for_the_output_is_better_there_than_clipping_for_the_weights():
    problem = make_problem(64, 128, bias=False)
    loud = torch.ones(128)
    loud[::16] = 8.0
    hessian = problem.hessian * loud * loud[:, None]
    weight = problem.linear.weight.detach()
    losses = []
    for seen in (hessian, None):
        context = LinearContext("x", seen, None, torch.Generator(), "cpu")
        error = Awq(Options()).quantize(problem.linear, context).dequantize() - weight
        losses.append(float(((error @ hessian) * error).sum()))
    assert losses[0] < 0.95 * losses[1]


def test_the_model_is_nearer_to_the_original_than_with_rtn(host, tmp_path):
    reference = _logits(_model(bias=False)).log_softmax(-1)

    def divergence(name, **options):
        model = _model(bias=False)
        record = host.get(QuantizerRecord, name)
        info = quantize_model(
            LoadedModel(model, None, "small", model_digest(model), torch.float32),
            record,
            record.options(group_size=32, **options),
            host=host,
            calibration=Corpus(TOKENS, "noise"),
            hessians=None,
            seed=0,
            device="cpu",
            work=tmp_path / f"work-{name}",
            out=tmp_path / f"{name}{len(options)}",
            store_dtype=torch.float32,
        )
        found = _logits(model).log_softmax(-1)
        return float((reference.exp() * (reference - found)).sum(-1).mean()), info.stored_bpw

    nearest = divergence("rtn", clip=True)
    awq = divergence("awq", clip_steps=32, scale_steps=10)
    both = divergence("awq", clip_steps=32, scale_steps=10, rounding="gptq")
    assert nearest[1] == awq[1] == both[1]
    assert both[0] < awq[0] < 0.9 * nearest[0]
