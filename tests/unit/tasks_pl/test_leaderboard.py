"""Normalisation and averages."""

from __future__ import annotations

import pytest

from qharness.errors import UnknownName
from qharness_tasks_pl import SUITES
from qharness_tasks_pl.leaderboard import average, average_gen, average_mc, normalized

POLISH22 = next(suite for suite in SUITES if suite.name == "polish22")
POLISH23 = next(suite for suite in SUITES if suite.name == "polish23")


def test_normalized_is_percent_above_the_baseline_and_may_be_negative():
    assert normalized(0.416, 0.416) == 0
    assert normalized(1.0, 0.368) == 100
    assert normalized(0.5, 0.25) == pytest.approx(100 / 3)
    assert normalized(0.0, 0.5) == -100


def test_a_missing_task_counts_as_zero_and_is_named():
    scores = {task.name: 1.0 for task in POLISH22.tasks[:11]}
    result = average(scores, POLISH22.tasks)
    assert result.value == pytest.approx(50)
    assert result.tasks == 22
    assert result.missing == tuple(task.name for task in POLISH22.tasks[11:])
    assert result.overridden == {}


def test_averages_by_kind():
    scores = {task.name: 1.0 for task in POLISH22.tasks if task.kind == "mc"}
    assert average_mc(scores, POLISH22.tasks).value == 100
    generative = average_gen(scores, POLISH22.tasks)
    assert (generative.value, generative.tasks, len(generative.missing)) == (0, 12, 12)


def test_polish23_divides_by_23():
    result = average({"polish_eq_bench": 0.46}, POLISH23.tasks)
    assert result.value == pytest.approx(46 / 23)


def test_other_baselines_are_explicit_and_named():
    scores = {task.name: 0.5 for task in POLISH22.tasks}
    official = average(scores, POLISH22.tasks)
    changed = average(scores, POLISH22.tasks, baselines={"polemo2_in": 0.0})
    assert changed.overridden == {"polemo2_in": 0.0}
    assert changed.value - official.value == pytest.approx((50 - normalized(0.5, 0.416)) / 22)
    assert average_mc(scores, POLISH22.tasks, {"polemo2_in": 0.0}).overridden == {}
    with pytest.raises(UnknownName, match="polemo2_in"):
        average(scores, POLISH22.tasks, baselines={"polemo2_im": 0.0})


def test_text_answers_have_no_official_baseline():
    with pytest.raises(ValueError, match="no official baseline"):
        average({}, POLISH22.companions)
