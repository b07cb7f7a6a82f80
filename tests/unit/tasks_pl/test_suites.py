"""Integrity of the suite tables against the YAML files and the leaderboard's list."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qharness.host import Host
from qharness.records import Suite
from qharness_tasks_pl import SUITES, TASKS, load_tasks, plugin, task_manager

BASELINES = {
    "polemo2_in_multiple_choice": 0.416,
    "polemo2_out_multiple_choice": 0.368,
    "polish_8tags_multiple_choice": 0.143,
    "polish_belebele_mc": 0.279,
    "polish_dyk_multiple_choice": 0.289,
    "polish_ppc_multiple_choice": 0.419,
    "polish_psc_multiple_choice": 0.466,
    "polish_cbd_multiple_choice": 0.149,
    "polish_klej_ner_multiple_choice": 0.343,
    "polish_polqa_reranking_multiple_choice": 0.5335588952710677,
    "polemo2_in": 0.416,
    "polemo2_out": 0.368,
    "polish_8tags_regex": 0.143,
    "polish_belebele_regex": 0.279,
    "polish_dyk_regex": 0.289,
    "polish_ppc_regex": 0.419,
    "polish_psc_regex": 0.466,
    "polish_cbd_regex": 0.149,
    "polish_klej_ner_regex": 0.343,
    "polish_polqa_closed_book": 0.0,
    "polish_polqa_open_book": 0.0,
    "polish_poquad_open_book": 0.0,
}
BY_NAME = {suite.name: suite for suite in SUITES}
ALL = {task.name: task for suite in SUITES for task in (*suite.tasks, *suite.companions)}


def test_polish22_has_the_official_tasks_in_order_with_their_baselines():
    assert {task.name: task.baseline for task in BY_NAME["polish22"].tasks} == BASELINES
    assert [task.name for task in BY_NAME["polish22"].tasks] == list(BASELINES)


def test_official_metrics():
    keys = {task.name: f"{task.metric},{task.filter}" for task in BY_NAME["polish23"].tasks}
    assert keys["polemo2_in"] == keys["polish_klej_ner_regex"] == "exact_match,score-first"
    assert keys["polish_dyk_regex"] == keys["polish_psc_regex"] == keys["polish_cbd_regex"] == "f1,score-first"
    assert keys["polish_dyk_multiple_choice"] == keys["polish_cbd_multiple_choice"] == "f1,none"
    assert keys["polish_ppc_multiple_choice"] == keys["polish_polqa_reranking_multiple_choice"] == "acc,none"
    assert keys["polish_polqa_closed_book"] == keys["polish_poquad_open_book"] == "levenshtein,none"
    assert keys["polish_eq_bench"] == "average_eqbench,none"


def test_sizes_and_kinds():
    sizes = {suite.name: (len(suite.tasks), len(suite.companions)) for suite in SUITES}
    assert sizes == {
        "polish22": (22, 9),
        "polish22-mc": (10, 0),
        "polish22-gen": (12, 9),
        "polish23": (23, 9),
        "eq_bench_first_turn": (1, 0),
        "polish22-paired": (18, 0),
    }
    assert {task.kind for task in BY_NAME["polish22-mc"].tasks} == {"mc"}
    assert [task.kind for task in BY_NAME["polish22-paired"].tasks] == ["mc", "gen"] * 9


def test_partners_point_at_each_other_and_share_their_data():
    for task in ALL.values():
        for partner in filter(None, (task.sibling, task.paired)):
            assert ALL[partner].hub_id == task.hub_id
            assert ALL[partner].kind != task.kind or task.paired == partner
        if task.is_official and task.sibling:
            assert ALL[task.sibling].sibling == task.name
        if not task.is_official:
            assert task.baseline is None
            assert ALL[task.sibling].paired == task.name
    assert sum(task.paired is not None for task in ALL.values()) == 18


def test_tables_and_yaml_agree(world: Path):
    manager = task_manager(world)
    assert set(manager.all_subtasks) == set(ALL)
    for name, task in load_tasks(list(ALL), world).items():
        spec = ALL[name]
        assert task.config.dataset_path == spec.hub_id
        assert spec.dataset == spec.hub_id.split("/")[1]
        assert (task.OUTPUT_TYPE == "multiple_choice") == (spec.kind == "mc")
        assert spec.metric in task.aggregation()
        assert [ensemble.name for ensemble in task._filters] == [spec.filter]
        if spec.cluster:
            assert spec.cluster in task.features


def test_every_yaml_file_that_is_no_base_gives_one_task():
    files = [path for path in TASKS.rglob("*.yaml") if not path.name.startswith("_")]
    assert len(files) == len(ALL) == 33
    assert "group:" not in "".join(path.read_text(encoding="utf-8") for path in TASKS.rglob("*.yaml"))


def test_the_plugin_offers_the_suites():
    host = Host(extra={"polish_under_test": plugin}) if not _installed() else Host()
    assert {suite.name for suite in SUITES} <= {suite.name for suite in host.records(Suite)}


def _installed() -> bool:
    return any(status.name == "polish" and status.state == "loaded" for status in Host().status)


@pytest.mark.parametrize("module", ["qharness_tasks_pl", "qharness_tasks_pl.plugin"])
def test_importing_the_tables_is_cheap(module):
    code = f"import sys, {module}; print(*{{'torch', 'lm_eval', 'datasets', 'numpy', 'pandas'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
