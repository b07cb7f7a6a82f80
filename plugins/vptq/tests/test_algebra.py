"""The algebra of VPTQ: column norms and the metric, what an error costs, least squares, nearest pairs, distortion."""

from __future__ import annotations

import pytest
import torch

from qharness.rounding.feedback import proxy_loss, round_with_feedback
from qharness.testing.problems import make_problem
from qharness_vptq.books import Books, column_norm, cut, learn_books
from qharness_vptq.code import VectorCode
from qharness_vptq.fitting import column_importance, fit
from qharness_vptq.layout import Layout, assign_columns, choose_layout
from qharness_vptq.options import Options
from qharness_vptq.refit import decode_terms, refit_books, terms_of


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _problem(rows, columns, seed=0):
    problem = make_problem(rows, columns, bias=False, seed=seed)
    hessian = problem.hessian.clone()
    hessian.diagonal().add_(0.01 * hessian.diagonal().mean())
    return problem.linear.weight.detach(), hessian


def _learned(weight, hessian, layout, norm="rms"):
    columns = assign_columns(hessian.diagonal(), layout)
    importance = column_importance(hessian, "inverse", "activation")
    books = learn_books(
        weight, importance, layout, columns, column_norm(weight, norm), iterations=10, generator=_generator()
    )
    return books, columns


def _decoded(indices, books, layout, columns):
    return decode_terms(terms_of(indices, layout, columns), books.tables(), books.scale, books.bias)


def test_a_column_scale_in_the_code_is_rounding_in_the_metric_s_h_s():
    weight, hessian = _problem(48, 64)
    weight = weight * torch.logspace(-1, 1, 64)[torch.randperm(64, generator=_generator())]
    layout = Layout(4, 16)
    books, columns = _learned(weight, hessian, layout, "minmax")
    code = VectorCode(books, layout, columns, 1)
    direct = round_with_feedback(weight, hessian, code, damping=0.0)
    plain = Books(books.main, None, None, torch.ones(64), torch.zeros(64))
    normed, metric = (weight - books.bias) / books.scale, books.scale[:, None] * hessian * books.scale
    inside = round_with_feedback(normed, metric, VectorCode(plain, layout, columns, 1), damping=0.0)
    assert float((direct.indices == inside.indices).float().mean()) > 0.999
    unscaled = round_with_feedback(normed, hessian, VectorCode(plain, layout, columns, 1), damping=0.0)
    back = unscaled.weight * books.scale + books.bias
    assert proxy_loss(weight, direct.weight, hessian) < 0.8 * proxy_loss(weight, back, hessian)


@pytest.mark.parametrize("order", ["natural", "activation"])
def test_what_the_feedback_pays_is_the_importance(order):
    weight, hessian = _problem(32, 48)
    layout = Layout(2, 16)
    books, columns = _learned(weight, hessian, layout)
    code, errors = VectorCode(books, layout, columns, 1), {}
    encode = code.encode

    def watched(target):
        found = encode(target)
        errors[code._column] = float((target - code.decode(found)).double().square().sum())
        return found

    code.encode = watched
    rounded = round_with_feedback(weight, hessian, code, order=order, damping=0.0)
    importance = column_importance(hessian, "feedback", order)
    paid = sum(float(importance[column]) * error for column, error in errors.items())
    error = (weight - rounded.weight).double()
    assert paid == pytest.approx(float(((error @ hessian.double()) * error).sum()), rel=1e-4)
    bounds = [column_importance(hessian, kind, order) for kind in ("inverse", "hessian")]
    assert (importance >= bounds[0] * 0.999).all() and (importance <= bounds[1] * 1.001).all()


def test_refitted_centroids_are_the_least_squares_solution():
    weight, hessian = _problem(24, 32)
    layout = Layout(2, 8, res_centroids=4, groups=2, outliers=4, outlier_vector_len=1, outlier_centroids=4)
    books, columns = _learned(weight, hessian, layout)
    rounded = round_with_feedback(weight, hessian, VectorCode(books, layout, columns, 4), damping=0.0)
    terms = terms_of(rounded.indices, layout, columns)
    unknowns = [torch.zeros_like(table) for table in books.tables()]
    images = []
    for table in unknowns:
        for place in range(table.numel()):
            table.view(-1)[place] = 1
            images.append(decode_terms(terms, unknowns, books.scale, None).double().flatten())
            table.view(-1)[place] = 0
    basis = torch.stack(images, 1).view(24, 32, -1)
    root = torch.linalg.cholesky(hessian.double())
    design = torch.einsum("rcu,cd->rdu", basis, root).flatten(0, 1)
    target = ((weight - books.bias).double() @ root).flatten()
    best = float((design @ torch.linalg.lstsq(design, target, driver="gelsd").solution - target).square().sum())
    fitted = _decoded(rounded.indices, refit_books(weight, hessian, books, terms), layout, columns)
    error = (weight - fitted).double()
    loss = float(((error @ hessian.double()) * error).sum())
    start = (weight - rounded.weight).double()
    assert loss < float(((start @ hessian.double()) * start).sum())
    assert loss == pytest.approx(best, rel=1e-3)


def test_the_beam_finds_the_nearest_pair():
    generator = _generator()
    main, residual = torch.randn(1, 16, 3, generator=generator), 0.5 * torch.randn(1, 8, 3, generator=generator)
    layout = Layout(3, 16, res_centroids=8)
    columns = assign_columns(torch.ones(1), layout)
    points = torch.randn(300, 1, generator=generator)
    books = Books(main, residual, None, torch.ones(1), torch.zeros(1))
    pairs = (main[0][:, None] + residual[0]).flatten(0, 1)
    nearest = torch.cdist(points.view(-1, 3), pairs).square().amin(1).sum()
    errors = {}
    for beam in (1, 4, 16):
        code = VectorCode(books, layout, columns, beam)
        code.begin_group(0, points, torch.ones(1))
        errors[beam] = (code.decode(code.encode(points)) - points).square().sum()
    assert errors[16] == pytest.approx(float(nearest), rel=1e-4)
    assert errors[16] <= errors[4] < errors[1]


@pytest.mark.parametrize(("length", "low", "high"), [(1, 0.115, 0.120), (2, 0.104, 0.112), (4, 0.084, 0.093)])
def test_distortion_of_two_bits_on_gaussian_weights(length, low, high):
    """Scalars as Lloyd and Max (0.1175); longer vectors do better, on the weights that their codebook learned from."""
    weight = torch.randn(512, 128, generator=_generator())
    options = Options(vector_len=length, norm="none", sweeps=0)
    found = fit([weight], torch.eye(128), options, _generator())
    error = weight - _decoded(found.indices[0], found.books, found.layout, found.columns)
    assert low < float(error.square().mean()) < high


def test_refits_and_sweeps_lower_the_proxy_loss():
    weight, hessian = _problem(96, 128)
    losses = []
    for changes in ({"refit": False, "sweeps": 0}, {"sweeps": 0}, {"sweeps": 2}):
        options = Options(vector_len=4, centroids=16, res_centroids=16, **changes)
        found = fit([weight], hessian, options, _generator())
        decoded = _decoded(found.indices[0], found.books, found.layout, found.columns)[:96]
        losses.append(proxy_loss(weight, decoded, hessian))
    assert losses[1] < 0.99 * losses[0] and losses[2] < 0.97 * losses[1]


def test_matrices_that_share_codebooks_are_rounded_as_one():
    weight, hessian = _problem(64, 48)
    options = Options(vector_len=4, centroids=16, norm="rms")
    whole = fit([weight], hessian, options, _generator())
    parts = fit([weight[:24], weight[24:]], hessian, options, _generator())
    assert torch.equal(torch.cat(parts.indices), whole.indices[0])
    assert torch.equal(parts.books.main, whole.books.main)


def test_codebooks_are_as_large_as_the_matrix_can_bear():
    options = Options()
    chosen = {rows: choose_layout(options, rows, 4096).vector_len for rows in (64, 256, 1024, 4096, 28672, 2**20)}
    assert list(chosen.values()) == sorted(chosen.values()) and set(chosen.values()) == {4, 6, 8}
    for rows, length in chosen.items():
        layout = choose_layout(options, rows, 4096)
        assert layout.codebook_bits <= layout.payload_bits(rows, 4096) / 16
        assert layout.centroids == 2 ** (2 * length)


def test_vectors_are_cut_down_the_columns():
    weight = torch.arange(12.0).view(6, 2)
    assert cut(weight, 3)[1, 0].tolist() == [6.0, 8.0, 10.0]
