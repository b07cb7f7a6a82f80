"""What the decode benchmark runs between products, against torch, under Triton's interpreter."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from qharness_kernels.bench.decoder.joint import Joint
from qharness_kernels.hadamard import hadamard_transform
from qharness_kernels.interpreting import interpreted

GLUE = "qharness_kernels.bench.decoder.triton"
run = partial(interpreted, GLUE)
EPSILON, THETA = 1e-5, 1e6


def joined(y: Tensor, residual: Tensor, norm: Tensor, before: Tensor | None, after: Tensor | None) -> Tensor:
    """Return the input of the next product by float64."""
    y, residual, norm = y.double(), residual.double(), norm.double()
    total = residual + (y if before is None else hadamard_transform(y, signs=before.double(), inverse=True))
    normed = nn.functional.rms_norm(total, total.shape[-1:], norm, EPSILON)
    return normed if after is None else hadamard_transform(normed, signs=after.double())


def attention(qkv: Tensor, keys: Tensor, values: Tensor, place: int, heads: int) -> Tensor:
    """Return the attention of the new token by float64."""
    kv_heads, _, head = keys.shape
    q, k, v = qkv.double().split([heads * head, kv_heads * head, kv_heads * head], 1)
    turn = place * THETA ** -(torch.arange(0, head, 2).double() / head).repeat(2)
    q, k = (
        x * turn.cos() + torch.cat([-x[:, head // 2 :], x[:, : head // 2]], 1) * turn.sin()
        for x in (q.view(-1, head), k.view(-1, head))
    )
    k = torch.cat([keys[:, :place].double(), k[:, None]], 1).repeat_interleave(heads // kv_heads, 0)
    v = torch.cat([values[:, :place].double(), v.view(-1, 1, head)], 1).repeat_interleave(heads // kv_heads, 0)
    weights = torch.softmax((q[:, None] @ k.transpose(1, 2)) / head**0.5, -1)
    return (weights @ v).reshape(1, -1)


@pytest.mark.parametrize(("is_before", "is_after"), [(False, False), (True, True), (True, False), (False, True)])
def test_join_adds_normalises_and_transforms(is_before: bool, is_after: bool) -> None:
    y, residual = torch.randn(1, 512).half(), torch.randn(1, 512).half()
    norm = (1 + torch.rand(512)).half()
    before, after = ((torch.randint(0, 2, (512,)) * 2 - 1).half() if used else None for used in (is_before, is_after))
    found = run("join", y, residual, Joint(norm, before, after))
    exact = joined(y, residual, norm, before, after)
    assert (found.double() - exact).norm() < 2 * 2.0**-10 * exact.norm()


@pytest.mark.parametrize("place", [0, 3, 64, 99])
def test_attention_of_a_token_is_that_of_all_before_and_itself(place: int) -> None:
    heads, kv_heads, head, context = 8, 2, 32, 100
    qkv = torch.randn(1, (heads + 2 * kv_heads) * head).half()
    keys, values = torch.randn(2, kv_heads, context, head).half()
    turn = run("angles", head, "cpu")
    queries, pairs = qkv.split([heads * head, 2 * kv_heads * head], 1)
    found = run("attend", queries, pairs, keys, values, torch.tensor([place]), turn)
    exact = attention(qkv, keys, values, place, heads)
    assert (found.double() - exact).norm() < 2 * 2.0**-10 * exact.norm()


def test_gate_multiplies_the_halves() -> None:
    x, signs = torch.randn(1, 600).half(), (torch.randint(0, 2, (300,)) * 2 - 1).half()
    exact = nn.functional.silu(x[:, :300].double()) * x[:, 300:].double()
    assert (run("gate", x, None).double() - exact).norm() < 2.0**-10 * exact.norm()
    assert (run("gate", x, signs).double() - exact * signs).norm() < 2.0**-10 * exact.norm()
