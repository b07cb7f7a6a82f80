"""The Hadamard across heads: its dense matrix, its contract entry, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from qharness.errors import MissingTransform, UsageError
from qharness.transforms.across_heads import AcrossHeads, across_heads_entry
from qharness.transforms.attach import attach_transforms
from qharness.transforms.contract import TransformEntry
from qharness_kernels.hadamard import hadamard_across, hadamard_dense

OUT = "model.layers.*.self_attn.o_proj"


@pytest.mark.parametrize(("heads", "size"), [(1, 8), (4, 8), (12, 6), (40, 16)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_is_a_kronecker_product_with_the_identity(heads, size, dtype):
    x = torch.randn(3, 2, heads * size, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = x.double() @ torch.kron(hadamard_dense(heads), torch.eye(size, dtype=torch.float64)).T
    found = hadamard_across(x, heads)
    assert found.dtype == dtype
    assert torch.allclose(found.double(), expected, atol=1e-12 if dtype == torch.float64 else 0.02)


def test_with_a_hadamard_of_every_head_it_is_one_of_the_whole_input():
    x = torch.randn(5, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    by_head = (x.unflatten(1, (4, 16)) @ hadamard_dense(16).T).flatten(1)
    assert torch.allclose(hadamard_across(by_head, 4), x @ hadamard_dense(64).T)


def test_the_entry_survives_json_and_attaches(make, host, ids):
    entry = across_heads_entry(OUT, 4, 16)
    assert TransformEntry.from_json(json.loads(json.dumps(entry.to_json()))) == entry
    model = make()
    before = model(ids).logits
    for layer in model.model.layers:
        weight = layer.self_attn.o_proj.weight
        weight.data = hadamard_across(weight.data.double(), 4).float()
    assert not torch.allclose(model(ids).logits, before, atol=1e-2)
    outcome = attach_transforms(model, [entry], {}, host)
    assert torch.allclose(model(ids).logits, before, atol=1e-4)
    outcome.detach()


def test_other_maps_are_refused(make, host):
    entry = across_heads_entry(OUT, 4, 16)
    changed = {
        "factor matrix": replace(entry, map=replace(entry.map, sha256="0" * 64)),
        "fingerprint": replace(entry, map=replace(entry.map, block=8)),
        "no plain map": replace(entry, map=replace(entry.map, signs="signs")),
        "map of 128 numbers": across_heads_entry(OUT, 8, 16),
    }
    for reason, wrong in changed.items():
        with pytest.raises(MissingTransform, match=reason):
            attach_transforms(make(), [wrong], {}, host)
    with pytest.raises(UsageError, match="size 9"):
        across_heads_entry(OUT, 9, 64)
    with pytest.raises(MissingTransform, match="size 9"):
        AcrossHeads(replace(entry, map=replace(entry.map, block=9, size=144)), {})
