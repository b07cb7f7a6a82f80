"""The comparison of synthetic runs: verdicts, pairing, identity of scores, averages."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from sklearn.metrics import f1_score

from qharness.results.comparison import compare, stored_verdicts
from qharness.results.directory import RunDirectory
from qharness.results.measured import collect
from qharness.results.parts import Part, read_samples
from qharness.results.schema import Cell, Result, Sample
from qharness.results.shape import Comparison, Summary, TaskCell, TaskRow
from qharness.results.tables import print_run


@pytest.fixture(scope="module")
def comparison(full_run, suite) -> Comparison:
    return compare([full_run], suite)


def cell(comparison, task, config):
    return next(row for row in comparison["tasks"] if row["task"] == task)["cells"][config]


def samples_of(part: Part) -> list[Sample]:
    names = Sample.__dataclass_fields__
    rows = read_samples(part.path).to_pylist()
    return [Sample(**{**{n: row[n] for n in names}, "choice_logprobs": tuple(row["choice_logprobs"])}) for row in rows]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("healthy", "healthy"),
        ("uniform", "uniform_damage"),
        ("dead", "collapsed"),
        ("dissociated", "dissociated"),
        ("cache", "cache_path_fault"),
        ("broken", "inconclusive"),
    ],
)
def test_verdicts_of_known_faults_with_25_documents_a_task(comparison, config, expected):
    verdict = next(v for v in comparison["verdicts"] if v["config"] == config)
    assert verdict["verdict"] == expected, verdict["evidence"]["reason"]
    assert {"reason", "r_mc", "r_gen", "index", "sets", "decode", "free", "scores"} <= verdict["evidence"].keys()


def test_the_baseline_gets_no_verdict_and_a_failed_configuration_says_why(comparison):
    assert [v["config"] for v in comparison["verdicts"]] == [
        "healthy",
        "uniform",
        "dead",
        "dissociated",
        "cache",
        "broken",
    ]
    assert comparison["verdicts"][-1]["evidence"]["reason"] == "Nothing was measured: no such layer"
    assert comparison["failures"] == [
        {"config": "broken", "evaluator": "quantize", "task": "", "reason": "no such layer"}
    ]
    assert cell(comparison, "polemo2_in", "broken")["failed"] == "no such layer"


def test_it_is_json_and_has_every_field(comparison):
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison
    assert set(comparison) == Comparison.__required_keys__
    assert all(set(row) == TaskRow.__required_keys__ for row in comparison["tasks"])
    assert all(set(c) == TaskCell.__required_keys__ for row in comparison["tasks"] for c in row["cells"].values())
    assert all(set(s) == Summary.__required_keys__ for s in comparison["summary"].values())
    assert comparison["notice"] == "embedded data: not the leaderboard"
    assert len(comparison["tasks"]) == 31
    assert sum(row["is_official"] for row in comparison["tasks"]) == 22
    assert comparison["configurations"][0]["is_baseline"]


def test_equal_models_differ_nowhere_and_say_what_could_have_been_seen(comparison):
    found = cell(comparison, "polish_8tags_multiple_choice", "healthy")
    assert found["p"] == 1.0
    assert found["delta"] == 0.0
    assert 0.1 < found["mde"] < 0.6


def test_tests_fit_the_metric_and_the_dependence(comparison, full_run):
    assert cell(comparison, "polish_ppc_regex", "dead")["test"] == "exact McNemar"
    assert cell(comparison, "polish_belebele_mc", "dead")["test"] == "cluster sign-flip permutation"
    for task in ("polish_dyk_regex", "polish_cbd_regex", "polish_cbd_multiple_choice"):
        found = cell(comparison, task, "uniform")
        assert found["test"] == "paired clustered bootstrap"
        assert found["delta"] == pytest.approx(found["value"] - cell(comparison, task, "fp16")["value"])
        assert found["stderr"] > 0
    row = cell(comparison, "polish_8tags_regex", "uniform")
    rows = {m.id: m for m in collect([full_run])}
    scores = [
        next(
            s for s in rows[name].of("gen", "polish_8tags_regex") if s.identity.metric == "exact_match"
        ).documents.value
        for name in ("fp16", "uniform")
    ]
    lost, gained = int(np.sum(scores[0] > scores[1])), int(np.sum(scores[0] < scores[1]))
    assert row["p"] == pytest.approx(stats.binomtest(lost, lost + gained).pvalue)
    assert row["flips"] == pytest.approx((lost + gained) / 25)


def test_holm_covers_the_22_official_tasks_of_one_configuration(comparison):
    assert comparison["families"]["dead"] == "dead: 22 official tasks of polish22"
    official = [row["cells"]["dead"] for row in comparison["tasks"] if row["is_official"]]
    smallest = min(official, key=lambda c: c["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, 22 * smallest["p"]))
    assert all(row["cells"]["dead"]["p_holm"] is None for row in comparison["tasks"] if not row["is_official"])


def test_a_dead_model_gives_no_evidence(comparison):
    assert cell(comparison, "polish_8tags_regex", "dead")["no_evidence"]
    assert not cell(comparison, "polish_8tags_regex", "fp16")["no_evidence"]
    assert comparison["summary"]["dead"]["r_mc_high"] < 0.3


def test_retention_and_decode_figures(comparison):
    assert len(comparison["retention"]["uniform"]) == 9
    assert comparison["summary"]["healthy"]["decode_agreement"] == 1.0
    assert comparison["summary"]["fp16"]["ll_gap"] == pytest.approx(8e-6, abs=4e-6)
    assert comparison["summary"]["cache"]["decode_agreement"] < 0.7
    row = comparison["retention"]["uniform"][0]
    expected = (row["mc_value"] - row["mc_constant"]) / (row["mc_baseline"] - row["mc_constant"])
    assert row["mc"] == pytest.approx(max(0, expected))


def test_answers_show_what_was_lost_first_and_free_texts_every_register(comparison):
    first = next(g for g in comparison["generations"] if g["task"] == "polish_8tags_regex")
    assert first["responses"]["fp16"]["value"] == 1.0
    assert first["responses"]["dead"]["value"] == 0.0
    assert {e["register"] for e in comparison["free"]["fp16"]["examples"]} == {"facts", "stories"}
    assert comparison["free"]["dead"]["metrics"]["seq_rep_4"] == 1.0


def test_a_missing_task_counts_as_zero_and_is_counted(make_run, suite):
    run = make_run("fp16", finish=False)
    whole = compare([run], suite)["averages"]["fp16"]
    lost = next(
        part for part in run.parts() if part.key.task == "polish_ppc_multiple_choice" and part.key.evaluator == "mc"
    )
    lost.path.unlink()
    part = compare([run], suite)["averages"]["fp16"]
    assert (part["missing_mc"], part["missing_gen"]) == (1, 0)
    assert part["mc"] == pytest.approx(whole["mc"] - lost.results[0].normalized / 10)
    assert part["gen"] == whole["gen"]


def test_other_metrics_never_enter_the_official_column(comparison):
    row = next(row for row in comparison["tasks"] if row["task"] == "polish_dyk_multiple_choice")
    assert row["metric"] == "f1"
    other = [r for r in comparison["other_metrics"] if r["task"] == row["task"] and r["evaluator"] == "mc"]
    assert [(r["metric"], r["is_official"], r["baseline"]) for r in other] == [("acc", False, None)]


def test_scores_of_another_protocol_are_not_compared(make_run, suite):
    found = compare([make_run("fp16", "healthy"), make_run("dead", num_fewshot=0)], suite)
    other = "dead"
    rows = [row for row in found["tasks"] if row["task"] == "polish_8tags_regex"]
    assert [row["num_fewshot"] for row in rows] == [5, 0]
    assert rows[0]["cells"][other]["value"] is None
    assert "num_fewshot" in rows[0]["cells"][other]["failed"]
    assert rows[1]["cells"][other]["delta"] is None
    assert any("polish_8tags" in w or "8tags_g" in w for w in found["warnings"])
    assert found["averages"][other]["missing_mc"] == 10


def test_a_shared_baseline_of_two_runs_is_one_configuration(make_run, suite):
    found = compare([make_run("fp16", "dead"), make_run("fp16", "healthy")], suite)
    assert [c["id"] for c in found["configurations"]] == ["fp16", "dead", "healthy"]
    assert found["verdicts"][1]["verdict"] == "healthy"


def test_documents_with_other_prompts_are_not_paired(make_run, suite):
    run = make_run("fp16", finish=False)
    part = next(p for p in run.parts() if p.key.task == "polish_ppc_regex")
    changed = [
        replace(sample, prompt_hash="other") if sample.doc_id < 10 else sample
        for sample in samples_of(part)
        if sample.metric == "exact_match"
    ]
    run.write_task(replace(part.cell, plugin="other"), "gen", "polish_ppc_regex", changed, part.results)
    found = cell(compare([run], suite), "polish_ppc_regex", "other")
    assert (found["n"], found["n_paired"]) == (25, 15)


def test_a_score_that_no_formula_reproduces_is_shown_and_not_tested(make_run, suite):
    run = make_run("fp16", finish=False)
    part = next(p for p in run.parts() if p.key.task == "polish_cbd_regex")
    other = replace(part.cell, plugin="other")
    wrong = [replace(r, value=0.123) for r in part.results if r.metric == "f1"]
    run.write_task(other, "gen", "polish_cbd_regex", samples_of(part), wrong)
    found = cell(compare([run], suite), "polish_cbd_regex", "other")
    assert (found["value"], found["p"], found["delta"]) == (0.123, None, None)


def test_f1_counts_labels_that_are_only_predicted_and_unreadable_answers(make_run, suite):
    run = make_run("fp16", finish=False)
    part = next(p for p in run.parts() if p.key.task == "polish_cbd_regex")
    template = [s for s in samples_of(part) if s.metric == "f1"]
    other, guesses = replace(part.cell, plugin="other"), {}
    for cell_, seed in ((part.cell, 0), (other, 1)):
        rng = np.random.default_rng(seed)
        guesses[cell_.plugin] = rng.choice(["B", "C", "D", "F", "[invalid]"], 25)
        rows = [replace(s, gold="BCD"[s.doc_id % 3], prediction=guesses[cell_.plugin][s.doc_id]) for s in template]
        index = [["A", "B", "C", "D", "E", "F"].index(g) if len(g) == 1 else 0 for g in guesses[cell_.plugin]]
        value = f1_score([1 + i % 3 for i in range(25)], index, average="macro")
        result = replace(next(r for r in part.results if r.metric == "f1"), value=float(value))
        run.write_task(cell_, "gen", "polish_cbd_regex", rows, [result])
    found = cell(compare([run], suite), "polish_cbd_regex", "other")
    assert found["test"] == "paired clustered bootstrap"
    assert found["delta"] is not None


def test_a_task_with_shots_of_its_own_stays_in_the_average(make_run, suite):
    run = make_run("fp16", finish=False)
    whole = compare([run], suite)["averages"]["fp16"]
    part = next(p for p in run.parts() if p.key.task == "polish_poquad_open_book")
    samples = samples_of(part)
    part.path.unlink()
    run.write_task(part.cell, "gen", part.key.task, samples, [replace(r, num_fewshot=0) for r in part.results])
    assert compare([run], suite)["averages"]["fp16"] == whole


def test_verdicts_are_stored_as_rows(comparison):
    stored = stored_verdicts(comparison)
    assert stored[2].plugin == "dead"
    assert stored[2].verdict == "collapsed"


def test_print_run_shows_pairs_verdicts_and_the_notice(full_run, comparison):
    console = Console(width=240, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_run(full_run, console)
    assert "polish_8tags_regex" in console.export_text()
    full_run.write_comparison(comparison)
    print_run(full_run, console)
    text = console.export_text()
    assert "NOTE: embedded data: not the leaderboard" in text
    assert "dead: collapsed. Both abilities are gone" in text
    assert "Verdict rules" in text and "lower bounds of both retentions at least 0.9" in text
    assert "broken: quantize failed: no such layer" in text
    line = next(line for line in text.splitlines() if line.strip().startswith("8tags"))
    assert len(line.split()) == 1 + 7 * 3


def test_results_without_samples_are_shown(make_run, suite):
    run: RunDirectory = make_run("fp16", finish=False)
    bare = Result("mc", "polish22", "polish_ppc_multiple_choice", "mc", "acc", "none", 5, 25, 0.4, data="embedded")
    run.write_task(Cell("bare", "demo", "x"), "mc", "polish_ppc_multiple_choice", [], [bare])
    found = cell(compare([run], suite), "polish_ppc_multiple_choice", "bare")
    assert (found["value"], found["n_paired"], found["p"]) == (0.4, 0, None)
