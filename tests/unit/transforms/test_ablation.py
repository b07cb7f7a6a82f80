"""Ablations: their text form, and what is left of a transform."""

from __future__ import annotations

import pytest
import torch

from qharness.errors import UnknownName, UsageError
from qharness.transforms.ablation import Ablation, check_ablations, passing_channels
from qharness.transforms.attach import attach_transforms
from qharness.transforms.contract import hadamard_entry
from qharness_kernels.hadamard import hadamard_transform

DOWN = "model.layers.*.mlp.down_proj"
R4 = hadamard_entry(id="r4", modules=DOWN, site="linear_input", size=96)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("R4", "r4"), ("r3:q_post_rope", "r3:q_post_rope"), ("r4@layers=3,5-6", "r4@layers=3,5,6"),
     ("r4@channels=25%", "r4@channels=25%"), ("r4@layers=1@channels=12.5%", "r4@layers=1@channels=12.5%"),
     ("across_heads", "across_heads"), ("r4@channels=100%", "r4")],
)  # fmt: skip
def test_text_form_round_trips(text, plain):
    assert str(Ablation.parse(text)) == plain
    assert Ablation.parse(plain) == Ablation.parse(text)


@pytest.mark.parametrize(
    "text", ["", "r4@", "r4@layers=", "r4@layers=a", "r4@channels=0%", "r4@channels=20", "r3:head"]
)
def test_other_texts_are_refused_with_the_form(text):
    with pytest.raises(UsageError, match=r"not understood.*r4@layers"):
        Ablation.parse(text)


def test_it_must_be_about_a_transform_of_the_artifact():
    with pytest.raises(UnknownName, match="r5"):
        check_ablations([R4], ["r5"])
    with pytest.raises(UnknownName, match="q_post_rope"):
        check_ablations([R4], ["r4:q_post_rope"])


def test_larger_shares_hold_the_smaller_ones_and_the_rest_is_transformed():
    x = torch.randn(4, 96)
    few = passing_channels(hadamard_transform, 96, 0.25)(x)
    many = passing_channels(hadamard_transform, 96, 0.5)(x)
    whole = hadamard_transform(x)
    passed = (few == x).all(0)
    assert int(passed.sum()) == 24 and torch.equal(few[:, ~passed], whole[:, ~passed])
    assert int((many == x).all(0).sum()) == 48 and bool((many == x).all(0)[passed].all())


@pytest.fixture
def llama(make):
    return make("llama", "sdpa")


@pytest.fixture
def inputs_of(llama, host):
    """Attach R4 with an ablation and return which layers get a transformed, a mixed and an untouched input."""

    def run(*ablate):
        attached = attach_transforms(llama, [R4], {}, host, ablate=ablate)
        kinds = []
        x = torch.randn(2, 96, generator=torch.Generator().manual_seed(0))
        whole = hadamard_transform(x)
        for layer in llama.model.layers:
            seen = []
            handle = layer.mlp.down_proj.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
            layer.mlp.down_proj(x)
            handle.remove()
            same = torch.equal(seen[0], x)
            kinds.append("untouched" if same else "whole" if torch.allclose(seen[0], whole) else "mixed")
        attached.detach()
        return kinds, attached.ablated

    return run


def test_layers_and_channels_are_left_out_where_they_are_named(inputs_of):
    assert inputs_of() == (["whole", "whole"], ())
    assert inputs_of("r4@layers=1") == (["whole", "untouched"], ("r4@layers=1",))
    assert inputs_of("r4@channels=50%") == (["mixed", "mixed"], ("r4@channels=50%",))
    assert inputs_of("R4@layers=0@channels=50%") == (["mixed", "whole"], ("r4@layers=0@channels=50%",))
    assert inputs_of("r4@layers=0", "r4@layers=1") == (["untouched"] * 2, ("r4@layers=0", "r4@layers=1"))


def test_a_layer_that_is_not_there_is_refused_and_nothing_stays_attached(llama, host):
    with pytest.raises(UsageError, match="layer 7"):
        attach_transforms(llama, [R4], {}, host, ablate=["r4@layers=1,7"])
    assert not any(layer.mlp.down_proj._forward_pre_hooks for layer in llama.model.layers)


def test_one_side_of_r3_can_be_left_out(llama, host):
    sides = [
        hadamard_entry(id="r3", modules="model.layers.*.self_attn", site=site, size=16, needed_if="kv_bits < 16")
        for site in ("q_post_rope", "k_pre_cache")
    ]
    outcome = attach_transforms(llama, sides, {}, host, ablate=["r3:q_post_rope"], kv_bits=4)
    assert [transform.entry.site for transform in outcome.attached] == ["k_pre_cache"]
    outcome.detach()
