"""Anomalies in scores, and seeds that are pooled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qharness.results.anomalies import anomalies
from qharness.results.comparison import compare
from qharness.results.measured import collect
from qharness.results.schema import Cell


@pytest.fixture
def run_and_cell(make_run):
    run = make_run("fp16", "healthy", finish=False)
    return run, Cell("healthy", "demo", "", ablation=())


def of(run, suite):
    return anomalies(collect([run]), [*suite.tasks, *suite.companions])


def test_metrics_that_differ_between_siblings_are_named_once(run_and_cell, suite):
    run, _ = run_and_cell
    assert not [line for line in of(run, suite) if "different metrics" in line]
    changed = [
        replace(spec, metric="levenshtein") if spec.name == "polish_dyk_regex"
        else replace(spec, baseline=0.9) if spec.name == "polish_ppc_regex" else spec
        for spec in suite.tasks
    ]  # fmt: skip
    (line,) = [line for line in anomalies(collect([run]), changed) if "different metrics" in line]
    assert "klej-dyk (f1 and levenshtein)" in line and "ppc (baselines 0.419 and 0.9)" in line and "8tags" not in line


def test_accuracies_far_apart_other_shots_missing_tasks_and_a_base_model(run_and_cell, suite):
    run, _ = run_and_cell
    quiet = " ".join(of(run, suite))
    assert "length-normalised" not in quiet and "examples on" not in quiet and "missing" not in quiet
    key = ("mc", "polish_8tags_multiple_choice", 5)
    part = next(p for p in run.parts() if p.cell.plugin == "healthy" and p.key == key)
    acc = next(r for r in part.results if r.metric == "acc")
    skewed = [replace(acc, num_fewshot=2), replace(acc, num_fewshot=2, metric="acc_norm", value=acc.value - 0.3)]
    part.path.unlink()
    run.write_task(part.cell, "mc", part.key.task, [], skewed)
    run.write_task(replace(part.cell, plugin="other", model="x/Model-Instruct"), "mc", part.key.task, [], skewed)
    lines = of(run, suite)
    assert any("healthy: accuracy and length-normalised accuracy" in line and "-30 points" in line for line in lines)
    assert any("healthy: multiple choice and generation have different numbers" in line for line in lines)
    assert any("Model-Instruct" in line and "base model" in line for line in lines)
    assert any(line.startswith("other: 21 tasks") for line in lines)


def test_quantizations_that_differ_only_in_the_seed_are_pooled(make_run, suite):
    import sys
    from pathlib import Path

    conftest = sys.modules[make_run.__module__]
    run = make_run("fp16", "uniform", finish=False, n=30)
    world = conftest.World(suite, 30)
    conftest.write_configuration(run, world, "uniform", seed=1, artifact_digest="b")
    run.finish()
    assert Path(run.path).exists()
    (row,) = compare([run], suite)["seeds"]
    assert row["seeds"] == [0, 1] and row["plugin"] == "uniform" and row["verdict"]
    single = compare([run], suite)["summary"]["uniform"]
    assert row["r_mc"][1] <= single["r_mc_low"] + 1e-9


def test_quantizations_that_differ_much_leave_the_verdict_open(make_run, suite):
    """Two seeds, one as good as new and one dead: neither verdict holds for the method, and documents do not help."""
    import sys

    conftest = sys.modules[make_run.__module__]
    run = make_run("fp16", "healthy", finish=False, n=30)
    conftest.write_configuration(run, conftest.World(suite, 30), "dead", plugin="healthy", seed=1, artifact_digest="b")
    run.finish()
    (row,) = compare([run], suite)["seeds"]
    assert row["verdict"] == "inconclusive" and "more quantizations than 2" in row["reason"]
    for name in ("r_mc", "r_gen"):
        estimate, low, high = row[name]
        assert low == 0 and 0.3 < estimate < 0.7 and high > 0.9
