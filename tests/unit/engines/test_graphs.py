"""Replayed decoding steps, with a graph that computes the step anew: storage, masks and places are those of a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest
import torch

from qharness.engines.base import GenerationRequest
from qharness.engines.graphs import Captured, GraphSteps
from qharness.engines.hf import Budgets

NARROW = Budgets(prefill=64, slots=300, rows=5, rounds=3)


@dataclass
class Repeated:
    """Stands for a CUDA graph."""

    replay: object


class RepeatedSteps(GraphSteps):
    """Graph steps for a CPU."""

    captures = 0

    def _capture(self, slots):
        self.captures += 1
        tokens = torch.zeros(slots.rows, 1, dtype=torch.int64)
        places = torch.full((slots.rows,), slots.capacity - 1)
        self._step(slots, tokens, places)
        return Captured(slots, Repeated(partial(self._step, slots, tokens, places)), tokens, places)


class RefusedSteps(GraphSteps):
    """Graph steps that cannot be captured."""

    def _capture(self, slots):
        raise RuntimeError("operation not permitted when stream is capturing")


def silent(done, total):
    pass


def prompts(count=14):
    torch.manual_seed(5)
    lengths = torch.randint(2, 90, (count,)).tolist()
    return [GenerationRequest(tuple(torch.randint(3, 259, (n,)).tolist()), ("e",), 24) for n in lengths]


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("budgets", [None, NARROW], ids=["wide", "narrow"])
def test_replayed_steps_write_what_eager_steps_write(make_engine, make_model, budgets, window) -> None:
    model = make_model(sliding_window=window)
    want = make_engine(budgets=budgets, model=model).generate(prompts(), silent)
    engine = make_engine(budgets=budgets, model=model)
    engine._graphs = RepeatedSteps(engine._forward)
    assert engine.generate(prompts(), silent) == want
    assert len({answer.finish for answer in want}) > 1


def test_the_graph_is_kept_while_shapes_stay(make_engine) -> None:
    engine = make_engine()
    steps = engine._graphs = RepeatedSteps(engine._forward)
    for count in (6, 6, 4):
        engine.generate(prompts(count), silent)
    assert steps.captures == 2


def test_a_model_that_refuses_capture_steps_eagerly(make_engine, caplog) -> None:
    want = make_engine().generate(prompts(), silent)
    engine = make_engine()
    engine._graphs = RefusedSteps(engine._forward)
    assert engine.generate(prompts(), silent) == want
    assert "without CUDA graphs" in caplog.text


def test_sampling_takes_no_graph(make_engine) -> None:
    asked = [GenerationRequest((5, 6), (), 10, 1.0, seed) for seed in (1, 2)]
    want = make_engine().generate(asked, silent)
    engine = make_engine()
    engine._graphs = RefusedSteps(engine._forward)
    assert engine.generate(asked, silent) == want
    assert not engine._graphs._impossible
