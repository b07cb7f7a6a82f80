from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from qharness.errors import MissingTransform, UnknownName
from qharness.host import Host
from qharness.transforms.attach import attach_transforms
from qharness.transforms.contract import MapSpec, TransformEntry, hadamard_entry
from qharness.transforms.fingerprint import fingerprint
from qharness_kernels.hadamard import hadamard_transform

DOWN = "model.layers.*.mlp.down_proj"
ATTENTION = "model.layers.*.self_attn"


def r3(size: int = 16, **changes) -> list[TransformEntry]:
    return [
        hadamard_entry(id="r3", modules=ATTENTION, site=site, size=size, needed_if="kv_bits < 16", **changes)
        for site in ("q_post_rope", "k_pre_cache")
    ]


def r4(block: int | None = None) -> TransformEntry:
    return hadamard_entry(id="r4", modules=DOWN, site="linear_input", size=96, block=block)


def fuse_r4(model, block: int | None = None) -> None:
    for layer in model.model.layers:
        weight = layer.mlp.down_proj.weight
        weight.data.copy_(hadamard_transform(weight.detach().double(), block=block))


def log_probabilities(model, ids, **arguments) -> torch.Tensor:
    with torch.no_grad():
        return model(ids, **arguments).logits.double().log_softmax(-1)


def divergence(model, ids, reference, **arguments) -> float:
    other = log_probabilities(model, ids, **arguments)
    return float((reference.exp() * (reference - other)).sum(-1).max())


@pytest.mark.parametrize("family", ["mistral", "llama"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_r3_changes_nothing_while_keys_are_unquantized(make, host, ids, family, attention) -> None:
    model = make(family, attention)
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    plain = log_probabilities(model, ids)
    padded = log_probabilities(model, ids, attention_mask=mask, position_ids=positions)[0, 5:]
    arguments = {"max_new_tokens": 24, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    written = model.generate(ids, **arguments)
    outcome = attach_transforms(model, r3(), {}, host, kv_bits=4)
    assert [len(t.modules) for t in outcome.attached] == [2, 2]
    assert divergence(model, ids, plain, use_cache=False) < 1e-6
    assert divergence(model, ids, plain, use_cache=True) < 1e-6
    rotated = log_probabilities(model, ids, attention_mask=mask, position_ids=positions)[0, 5:]
    assert (rotated - padded).abs().max() < 1e-4
    assert torch.equal(model.generate(ids, **arguments), written)
    assert torch.equal(model.generate(ids, use_cache=False, **arguments), written)
    outcome.detach()
    assert torch.equal(log_probabilities(model, ids), plain)


def test_r3_keeps_the_causal_mask_and_the_sliding_window(make, host, ids) -> None:
    model = make(sliding_window=4)
    plain = log_probabilities(model, ids)
    attach_transforms(model, r3(), {}, host, kv_bits=4)
    assert divergence(model, ids, plain) < 1e-6
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 90 + 4
    before, after = log_probabilities(model, ids), log_probabilities(model, changed)
    assert torch.allclose(before[:, :-1], after[:, :-1], atol=1e-5)


def test_r3_rotates_what_the_cache_stores(make, host, ids) -> None:
    model = make()
    with torch.no_grad():
        plain = model(ids, use_cache=True).past_key_values.layers[1].keys
        attach_transforms(model, r3(), {}, host, kv_bits=4)
        rotated = model(ids, use_cache=True).past_key_values.layers[1].keys
    assert torch.allclose(rotated, hadamard_transform(plain), atol=1e-4)


@pytest.mark.parametrize("site", [0, 1])
def test_one_sided_r3_destroys_attention(make, host, ids, site) -> None:
    model = make()
    plain = log_probabilities(model, ids)
    attach_transforms(model, [r3()[site]], {}, host, kv_bits=4)
    assert divergence(model, ids, plain) > 1e-2


def test_switching_the_attention_function_afterwards_is_noticed(make, host, ids) -> None:
    model = make()
    attach_transforms(model, r3(), {}, host, kv_bits=4)
    model.set_attn_implementation("sdpa")
    with pytest.raises(MissingTransform, match="switched to 'sdpa'"):
        model(ids)


def test_attention_that_keeps_its_keys_to_itself_is_noticed(make, host, ids) -> None:
    model = make()
    attention = model.model.layers[0].self_attn
    forward = type(attention).forward
    attach_transforms(model, r3(), {}, host, kv_bits=4)
    attention.forward = lambda *a, past_key_values=None, **k: forward(attention, *a, past_key_values=None, **k)
    with pytest.raises(MissingTransform, match="did not hand its keys"):
        model(ids)


def test_r3_is_not_needed_with_an_unquantized_cache(make, host) -> None:
    outcome = attach_transforms(make(), [r4(), *r3()], {}, host)
    assert [t.entry.id for t in outcome.attached] == ["r4"]
    assert outcome.not_needed == ("r3",)


@pytest.mark.parametrize("block", [None, 12, 48])
def test_r4_online_undoes_r4_fused(make, host, ids, block) -> None:
    model = make().double()
    plain = log_probabilities(model, ids)
    fuse_r4(model, block)
    attach_transforms(model, [r4(block)], {}, host)
    assert divergence(model, ids, plain) < 1e-12


def test_absent_r4_explodes_perplexity_and_drops_choices_to_chance(make, host) -> None:
    # A model that knows a cycle of tokens by heart, in its MLPs alone, so that both numbers mean something.
    model = make(vocab_size=2048)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".mlp." in name)
    cycle = torch.randperm(2000, generator=torch.Generator().manual_seed(1))[:80] + 4
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for step in range(200):
        starts = torch.randint(0, 80, (16,), generator=torch.Generator().manual_seed(step))
        batch = cycle[(starts[:, None] + torch.arange(12)) % 80]
        loss = model(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    test = cycle[(torch.arange(80)[:, None] + torch.arange(12)) % 80]

    def measure() -> tuple[float, float]:
        with torch.no_grad():
            out = model(test, labels=test)
        chosen = out.logits[:, -2].gather(1, torch.stack([test[:, -1], *[test[:, -1].roll(k) for k in (7, 21, 40)]], 1))
        return float(out.loss.exp()), float((chosen.argmax(1) == 0).float().mean())

    trained = measure()
    assert trained[0] < 2 and trained[1] > 0.95
    fuse_r4(model)
    whole = attach_transforms(model, [r4()], {}, host)
    assert measure() == pytest.approx(trained, rel=1e-3)
    whole.detach()
    outcome = attach_transforms(model, [r4()], {}, host, ablate=["R4"])
    perplexity, accuracy = measure()
    assert outcome.ablated == ("r4",)
    assert perplexity > 1e3
    assert accuracy < 0.45


def test_third_party_transform_at_the_output_and_input(make, host, ids) -> None:
    model = make().double()
    plain = log_probabilities(model, ids)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data = layer.mlp.down_proj.weight.data.flip(1)
    spec = MapSpec("reversal", 96, normalisation="none")
    mark = fingerprint(lambda x: x.flip(-1), 96)
    entry = TransformEntry("turn", "reversal", DOWN, "linear_input", spec, fingerprint=mark)
    attach_transforms(model, [TransformEntry.from_json(entry.to_json())], {}, host)
    assert divergence(model, ids, plain) < 1e-12


def refused(model, entries, host, words, tensors=None, **arguments) -> None:
    with pytest.raises(MissingTransform, match=words) as caught:
        attach_transforms(model, entries, tensors or {}, host, **arguments)
    assert "--ablate" in str(caught.value)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


def test_required_transforms_that_cannot_be_attached_are_refused(make, host) -> None:
    model, entry = make(), r4()
    refused(model, [r4(), replace(entry, kind="unheard_of")], host, "no installed plugin")
    refused(model, [replace(entry, modules="model.blocks.*")], host, "no module of the model matches")
    refused(model, [replace(entry, modules="model.layers.*.mlp")], host, "not a linear layer")
    refused(model, [replace(entry, site="linear_output")], host, "do not act at the site")
    refused(model, [hadamard_entry(id="r4", modules=DOWN, site="linear_input", size=48)], host, "has 96")
    refused(model, r3(size=32), host, "has 16", kv_bits=4)
    wrong = tuple(-number for number in entry.fingerprint)
    refused(model, [replace(entry, fingerprint=wrong)], host, "fingerprint")
    refused(model, [replace(entry, fingerprint=())], host, "fingerprint")
    refused(model, [replace(entry, map=replace(entry.map, sha256="0" * 64))], host, "factor matrix")
    signed = hadamard_entry(id="r4", modules=DOWN, site="linear_input", size=96, signs="s", sign_vector=torch.ones(96))
    refused(model, [signed], host, "'s' is not in the artifact")
    flipped = torch.ones(96)
    flipped[50] = -1
    refused(model, [signed], host, "fingerprint", {"s": flipped})
    refused(model, [signed], host, "signs", {"s": torch.full((96,), 2.0)})
    refused(make(), [entry], Host(blocked=[s.name for s in Host().status]), "no installed plugin")


def test_attention_that_is_not_known_is_refused(make, host) -> None:
    model = make()
    model.model.layers[1].self_attn.__class__ = type("OtherAttention", (type(model.model.layers[1].self_attn),), {})
    refused(model, r3(), host, "OtherAttention", kv_bits=8)


def test_optional_transforms_may_be_missing(make, host) -> None:
    outcome = attach_transforms(make(), [replace(r4(), kind="unheard_of", required=False)], {}, host)
    assert not outcome.attached and "no installed plugin" in outcome.skipped["r4"]


def test_unknown_ablation_names_the_transforms_there_are(make, host) -> None:
    with pytest.raises(UnknownName, match="'r4'"):
        attach_transforms(make(), [r4()], {}, host, ablate=["r5"])
    with pytest.raises(UnknownName, match="none"):
        attach_transforms(make(), [], {}, host, ablate=["r4"])
