"""On a GPU: the same result twice, the same quality as on a CPU, and codebooks of 65536 words."""

from __future__ import annotations

import pytest
import torch

from qharness.rounding.feedback import proxy_loss
from qharness.testing.problems import make_problem
from qharness_aqlm.fitting import fit
from qharness_aqlm.options import Options
from qharness_aqlm.scheme import parse_scheme

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def _fit(name, problem, device, **options):
    weight, hessian = problem.linear.weight.detach().to(device), problem.hessian.to(device)
    generator = torch.Generator(device).manual_seed(0)
    return fit(weight, hessian, parse_scheme(name), Options(**options), generator)


def _loss(state, problem):
    return proxy_loss(problem.linear.weight.detach(), state.weight().cpu(), problem.hessian)


@pytest.mark.parametrize("name", ["2x8", "1x8g4"])
def test_a_gpu_gives_the_same_result_twice(name):
    problem = make_problem(1024, 1024, bias=False)
    first, second = (_fit(name, problem, "cuda") for _ in range(2))
    assert torch.equal(first.codes, second.codes) and torch.equal(first.codebooks, second.codebooks)
    small = make_problem(256, 256, bias=False)
    losses = [_loss(_fit(name, small, device), small) for device in ("cpu", "cuda")]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_one_codebook_of_65536_words_beats_two_of_256():
    problem = make_problem(4096, 2048, bias=False)
    losses = {name: _loss(_fit(name, problem, "cuda", rounds=3), problem) for name in ("1x16", "2x8")}
    assert losses["1x16"] < losses["2x8"]
