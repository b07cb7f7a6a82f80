from __future__ import annotations

import itertools

import pytest

from qharness_kernels.plans import MOST_TILES, SIDE, blocks, plan

SHAPES = [16, 272, 1024, 4089, 4096, 14336, 28672, 128256]


@pytest.mark.parametrize("processors", [1, 7, 132])
@pytest.mark.parametrize("rows", [1, 8, 9, 16])
@pytest.mark.parametrize("out_features", SHAPES)
def test_every_tile_has_a_place_in_a_block(out_features: int, rows: int, processors: int) -> None:
    cut = plan(out_features, rows, processors)
    grid, tiles = blocks(out_features, cut, processors), -(-out_features // SIDE)
    starts = [block * tiles // grid for block in range(grid + 1)]
    assert max(b - a for a, b in itertools.pairwise(starts)) <= cut.tiles <= MOST_TILES
    assert cut.slabs * 8 >= rows


def test_matrices_of_one_wave_occupy_every_processor_once() -> None:
    assert blocks(14336, plan(14336, 1, 132), 132) == 132
    assert blocks(1024, plan(1024, 1, 132), 132) == 64
