"""Blocks byte for byte: the `gguf` package reads what we write, and what it knows of the format is what we use."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize

from qharness_iq2_xxs.codebook import Distances, Words, decode_words
from qharness_iq2_xxs.linear import STORED_TYPES, BlockLinear
from qharness_iq2_xxs.options import Options
from qharness_iq2_xxs.quantizer import encode
from qharness_kernels.iq2_xxs.reference import codebook


def _heavy_tailed(rows, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(rows, columns, generator=generator)
    return 0.02 * normal / torch.rand(rows, columns, generator=generator).clamp_min(0.01).sqrt()


@pytest.mark.parametrize("kind", sorted(STORED_TYPES))
def test_gguf_reads_equal_values_from_encoded_and_from_arbitrary_blocks(kind):
    stored = STORED_TYPES[kind]
    assert (stored.weights, stored.bytes) == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    weight = _heavy_tailed(6, 512)
    encoded = encode(weight, torch.eye(512), kind, Options(passes=1))
    noise = np.random.default_rng(0).integers(0, 256, (6, encoded.shape[1]), dtype=np.uint8)
    for blocks in (encoded, torch.from_numpy(noise)):
        ours = BlockLinear(blocks, kind, None).dequantize().numpy()
        with np.errstate(invalid="ignore"):
            theirs = dequantize(blocks.numpy(), gguf.GGMLQuantizationType[kind])
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("kind", "bound"), [("IQ2_XXS", 0.112), ("Q2_K", 0.09), ("Q4_K", 0.006), ("Q5_K", 0.0016), ("IQ4_NL", 0.007)]
)
def test_distortion_of_gaussian_weights(kind, bound):
    weight = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))
    blocks = encode(weight, torch.eye(512), kind, Options(feedback=False, passes=0, unbiased=False))
    assert float((BlockLinear(blocks, kind, None).dequantize() - weight).square().mean()) < bound


def test_nearest_word_is_the_best_of_all_words():
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(5, 8, generator=generator) * 20
    importance = torch.rand(8, generator=generator) + 0.1
    scale = torch.tensor([0.5, 0.8, 1.0, 1.3, 2.0])
    distances = Distances(vectors, importance)
    point = distances.nearest(scale)
    words = Words(point[:, 0], distances.signs(point)[:, 0])
    found = ((vectors - scale[:, None] * decode_words(words)).square() * importance).sum(1)
    book = codebook(vectors.device)
    everything = (book.points[:, None] * book.signs).view(-1, 8)
    errors = ((vectors[:, None] - scale[:, None, None] * everything).square() * importance).sum(2)
    torch.testing.assert_close(found, errors.amin(1))
    energy = (vectors.square() * importance).sum(1)
    torch.testing.assert_close(distances.least(scale) + energy, errors.amin(1), rtol=1e-4, atol=1e-3)


def test_rows_of_zeros_and_huge_rows_stay_finite():
    weight = torch.cat([torch.zeros(1, 256), torch.full((1, 256), 3e5), 1e-9 * torch.randn(1, 256)])
    for kind in STORED_TYPES:
        blocks = encode(weight, torch.eye(256), kind, Options(passes=1))
        found = BlockLinear(blocks, kind, None).dequantize()
        assert torch.isfinite(found).all() and not found[0].any()
