"""Schemes: what they cost, what they lose, and which one a matrix gets."""

from __future__ import annotations

import logging

import pytest
import torch

from qharness.errors import UsageError
from qharness.quantization.base import LinearContext
from qharness.testing.problems import make_problem
from qharness_aqlm.allocation import Matrix, allocate
from qharness_aqlm.fitting import fit
from qharness_aqlm.linear import AdditiveLinear
from qharness_aqlm.options import Options
from qharness_aqlm.quantizer import Aqlm
from qharness_aqlm.scheme import DISTORTION, Scheme, fitting_scheme, parse_scheme

BIELIK = {"q": (4096, 4096), "k": (1024, 4096), "v": (1024, 4096), "o": (4096, 4096)} | {
    "gate": (14336, 4096), "up": (14336, 4096), "down": (4096, 14336),
}  # fmt: skip


def _stored(schemes):
    bits = sum(schemes[name].stored_bits(*size) for name, size in BIELIK.items())
    return bits / sum(rows * columns for rows, columns in BIELIK.values())


def test_stored_bits_of_an_11b_model():
    assert _stored(dict.fromkeys(BIELIK, Scheme(2, 8))) == pytest.approx(2.0075, abs=0.003)
    assert _stored(dict.fromkeys(BIELIK, Scheme(1, 16))) == pytest.approx(2.274, abs=0.003)
    assert Scheme(1, 16).stored_bits(1024, 4096) / (1024 * 4096) == pytest.approx(4.0, abs=0.01)
    shrunk = {name: fitting_scheme(Scheme(1, 16), *size, overhead=0.125) for name, size in BIELIK.items()}
    assert shrunk["gate"] == Scheme(1, 16) and shrunk["k"] == Scheme(2, 8)
    assert _stored(shrunk) < 2.13


def test_small_matrices_get_small_codebooks_of_the_same_bits():
    chosen = [fitting_scheme(Scheme(2, 8), *size, 0.125).name for size in ((4096, 4096), (256, 256), (128, 256))]
    assert chosen == ["2x8", "1x8g4", "2x4g4"]
    for rows, columns in ((4096, 4096), (256, 256), (128, 256), (64, 128)):
        scheme = fitting_scheme(Scheme(2, 8), rows, columns, 0.125)
        assert scheme.nominal_bits == 2 and scheme.codebook_bits <= 0.125 * scheme.payload_bits(rows, columns)
    assert fitting_scheme(Scheme(2, 8), 256, 252, 0.125).group == 4


def test_names_are_read_back_and_nonsense_is_refused():
    for scheme in DISTORTION:
        assert parse_scheme(scheme.name) == scheme
    for text in ("2", "2x", "0x8", "2x17", "9x8", "1x8g3", "2x8g16"):
        with pytest.raises(ValueError, match="scheme"):
            parse_scheme(text)


@pytest.mark.parametrize("name", ["1x6g4", "2x4g4", "1x4g2"])
def test_distortions_are_those_of_normal_weights(name):
    scheme = parse_scheme(name)
    weight = torch.randn(256, 512, generator=torch.Generator().manual_seed(5))
    found = fit(weight, torch.eye(512), scheme, Options(rounds=4), torch.Generator().manual_seed(0))
    assert float((found.weight() - weight).square().mean()) == pytest.approx(DISTORTION[scheme], rel=0.03)


def test_stored_bits_are_those_of_the_layer():
    problem = make_problem(24, 40, bias=False)
    for name in ("2x3", "1x5g4", "3x4g2", "1x9"):
        scheme = parse_scheme(name)
        found = fit(problem.linear.weight.detach(), problem.hessian, scheme, Options(rounds=1), torch.Generator())
        layer = AdditiveLinear(found.codes, found.codebooks, found.scales, None)
        assert sum(layer.stored_bits().values()) == scheme.stored_bits(24, 40)
        assert torch.equal(layer.dequantize(), found.weight())


def test_a_codebook_larger_than_its_codes_is_named_with_the_remedy(caplog):
    problem = make_problem(32, 64, bias=False)
    quantizer = Aqlm(Options(scheme="2x8", shrink=False, rounds=1))
    context = LinearContext("model.layers.3.self_attn.k_proj", problem.hessian, None, torch.Generator(), "cpu")
    with caplog.at_level(logging.WARNING):
        quantizer.quantize(problem.linear, context)
    assert "model.layers.3.self_attn.k_proj" in caplog.text and "aqlm.shrink" in caplog.text
    caplog.clear()
    Aqlm(Options(scheme="2x8", rounds=1)).quantize(problem.linear, context)
    assert not caplog.text


def test_a_budget_goes_where_it_matters():
    matrices = {f"{kind}{i}": Matrix(*size, float(i + 1)) for kind, size in BIELIK.items() for i in range(3)}
    chosen = allocate(matrices, 2.0)
    weights = sum(m.rows * m.columns for m in matrices.values())
    stored = sum(chosen[name].stored_bits(*matrices[name][:2]) for name in matrices)
    assert 1.9 < stored / weights <= 2.0
    assert chosen["down2"].nominal_bits >= chosen["down0"].nominal_bits
    assert len({scheme.nominal_bits for scheme in chosen.values()}) > 1
    richer = allocate(matrices, 2.5)
    assert all(DISTORTION[richer[name]] <= DISTORTION[chosen[name]] for name in matrices)
    with pytest.raises(UsageError, match=r"aqlm\.budget"):
        allocate(matrices, 0.5)


def test_the_allocation_is_near_the_best_there_is():
    matrices = {"a": Matrix(64, 64, 5.0), "b": Matrix(64, 128, 1.0)}
    budget = 2.6
    total = budget * sum(m.rows * m.columns for m in matrices.values())

    def loss(first, second):
        return 5.0 * DISTORTION[first] + DISTORTION[second]

    def cost(first, second):
        return first.stored_bits(64, 64) + second.stored_bits(64, 128)

    best = min(loss(a, b) for a in DISTORTION for b in DISTORTION if cost(a, b) <= total)
    found = allocate(matrices, budget)
    assert cost(found["a"], found["b"]) <= total
    assert loss(found["a"], found["b"]) < 1.25 * best
