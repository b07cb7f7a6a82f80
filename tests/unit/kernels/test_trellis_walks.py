"""The search for walks in Triton, interpreted, against the one in torch."""

from __future__ import annotations

import pytest
import torch

from qharness_kernels.interpreting import interpreted
from qharness_kernels.trellis import Search, Trellis, decode_states
from qharness_kernels.trellis.walks import HEADS_AT_ONCE

KERNEL = "qharness_kernels.trellis.walks"
SHAPES = [Trellis(8, 2, 1), Trellis(9, 3, 1), Trellis(8, 4, 1), Trellis(10, 2, 2), Trellis(14, 2, 1)]


@pytest.mark.parametrize("trellis", SHAPES, ids=str)
@pytest.mark.parametrize("bound", [False, True])
def test_the_walks_are_those_of_the_reference(trellis: Trellis, bound: bool) -> None:
    generator = torch.Generator().manual_seed(trellis.state_bits)
    values = torch.randn(trellis.states, trellis.vector, generator=generator)
    sequences = torch.randn(3, 12 * trellis.vector, generator=generator)
    ends = torch.randint(0, trellis.heads, (3,), generator=generator) if bound else None
    found = interpreted(KERNEL, "best_walks", trellis, values, values.T.contiguous(), sequences, ends)
    assert torch.equal(found, Search(trellis, values).best_walks(sequences, ends))


def test_one_shape_takes_its_heads_in_several_parts() -> None:
    assert max(trellis.heads for trellis in SHAPES) > HEADS_AT_ONCE


def test_values_are_read_in_half_precision_only_where_it_holds_them() -> None:
    exact = decode_states("3inst", torch.arange(1 << 10))
    assert interpreted(KERNEL, "state_table", exact).dtype == torch.float16
    table = interpreted(KERNEL, "state_table", exact + 1e-5)
    assert table.dtype == torch.float32 and torch.equal(table.T, exact + 1e-5)
