"""The search over codes against brute force, and that it never makes a matrix worse."""

from __future__ import annotations

import pytest
import torch

from qharness_aqlm.refit import refit_codebooks, refit_scales
from qharness_aqlm.search import best_sums, search_codes, sum_of
from qharness_aqlm.state import Additive, squared_error


def _problem(books, count, size, rows=20, groups=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    columns = groups * size
    weight = torch.randn(rows, columns, generator=generator)
    x = torch.randn(4 * columns, columns, generator=generator)
    x = x @ (torch.eye(columns) + torch.randn(columns, columns, generator=generator) * columns**-0.5)
    codes = torch.randint(0, count, (rows, groups, books), generator=generator)
    codebooks = torch.randn(books, count, size, generator=generator) * books**-0.5
    state = Additive(codes, codebooks, torch.rand(rows, generator=generator) + 0.5)
    return state, weight, x.T @ x / len(x)


def _error(state, weight, hessian):
    return float(squared_error(weight - state.weight(), hessian).sum())


@pytest.mark.parametrize(("books", "beam"), [(1, 1), (2, 8), (2, 64)])
def test_a_full_beam_finds_the_best_of_all_sums(books, beam):
    state, weight, hessian = _problem(books, 8, 4)
    metric, target = hessian[:4, :4], weight[:, :4]
    every = torch.cartesian_prod(*[torch.arange(8)] * books).view(-1, books)
    values = sum_of(every, state.codebooks)
    costs = ((values @ metric) * values).sum(1) - 2 * target @ values.T
    found = best_sums(target, metric, state.codebooks, None, beam)
    assert torch.equal(found, every[costs.argmin(1)])


@pytest.mark.parametrize("beam", [1, 3])
def test_no_pass_makes_a_row_worse(beam):
    state, weight, hessian = _problem(3, 8, 4)
    generator = torch.Generator().manual_seed(0)
    before = squared_error(weight - state.weight(), hessian)
    for _ in range(3):
        search_codes(state, weight, hessian, beam=beam, generator=generator)
        after = squared_error(weight - state.weight(), hessian)
        assert (after <= before * (1 + 1e-5)).all()
        before = after
    assert _error(state, weight, hessian) < 0.5 * _error(_problem(3, 8, 4)[0], weight, hessian)


def test_a_wider_beam_is_better():
    losses = []
    for beam in (1, 16):
        state, weight, hessian = _problem(3, 16, 4, rows=60)
        for _ in range(4):
            search_codes(state, weight, hessian, beam=beam, generator=torch.Generator().manual_seed(0))
        losses.append(_error(state, weight, hessian))
    assert losses[1] < 0.97 * losses[0]


def test_codebooks_reach_the_least_squares_solution():
    state, weight, hessian = _problem(2, 8, 4, rows=80)
    books, count, size = state.codebooks.shape
    root = torch.linalg.cholesky(hessian.double())
    # Each column of the design matrix is the response of all outputs to one number of one code word.
    basis = []
    for index in range(state.codebooks.numel()):
        unit = torch.zeros(state.codebooks.numel())
        unit[index] = 1
        response = Additive(state.codes, unit.view(books, count, size), state.scales).weight()
        basis.append((response.double() @ root).flatten())
    design = torch.stack(basis, 1)
    best = torch.linalg.lstsq(design, (weight.double() @ root).flatten(), driver="gelsd").solution
    least = float((design @ best - (weight.double() @ root).flatten()).square().sum())
    refit_codebooks(state, weight, hessian, steps=60)
    assert _error(state, weight, hessian) == pytest.approx(least, rel=1e-4)


def test_few_steps_on_the_codebooks_do_most_of_it():
    state, weight, hessian = _problem(2, 8, 4, rows=80)
    losses = [_error(state, weight, hessian)]
    for steps in (6, 200):
        again, *_ = _problem(2, 8, 4, rows=80)
        refit_codebooks(again, weight, hessian, steps)
        losses.append(_error(again, weight, hessian))
    assert losses[1] - losses[2] < 0.02 * (losses[0] - losses[2])


def test_scales_are_the_best_ones():
    state, weight, hessian = _problem(1, 256, 4)
    search_codes(state, weight, hessian, beam=1, generator=torch.Generator())
    refit_scales(state, weight, hessian)
    best = squared_error(weight - state.weight(), hessian)
    for factor in (0.99, 1.01):
        other = Additive(state.codes, state.codebooks, state.scales * factor)
        assert (squared_error(weight - other.weight(), hessian) >= best).all()
