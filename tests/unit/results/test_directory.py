"""Run directories: kill safety, resuming, reading back, refusing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pyarrow.parquet as pq
import pytest

from qharness.errors import CorruptArtifact, MissingData, Unwritable, UsageError
from qharness.evaluation.base import TaskFailure
from qharness.results.directory import NotARun, RunDirectory, UnfinishedRun
from qharness.results.files import folder_name, write_atomically
from qharness.results.identity import config_id, labels
from qharness.results.parts import TaskKey, read_samples
from qharness.results.query import find_runs, query
from qharness.results.schema import Cell, Result, Sample, Verdict
from qharness.results.show import RESULT_FIELDS, show

CELL = Cell("spinquant", "demo", "d1", ablation=("r4",), calibration="demo")
SAMPLE = Sample("mc", "t", "mc", 0, "h", "p", "0", "none", "acc", 1.0, "tak", "tak", False, (-0.1, -2.0))
NULL = replace(SAMPLE, metric="f1", value=None, doc_id=1)
RESULT = Result("mc", "polish22", "t", "mc", "acc", "none", 5, 2, 0.5, 0.1, 0.3, 28.6, None, 0.4, "embedded")


def start(root) -> RunDirectory:
    common = {"calibration": "demo"}
    return RunDirectory.create(root, {"suites": ["polish22"]}, digests={"model": "abc"}, common=common)


def test_rows_come_back_as_they_were_written(tmp_path):
    run = start(tmp_path)
    run.write_task(CELL, "mc", "t", [SAMPLE, NULL], [RESULT])
    path = run.path / "samples/spinquant+no-r4/mc/t/part-5shot.parquet"
    rows = read_samples(path).to_pylist()
    expected = [{"run_id": run.run_id, **asdict(CELL), "num_fewshot": 5, **asdict(s)} for s in (SAMPLE, NULL)]
    for row in expected:
        row["ablation"], row["choice_logprobs"] = list(row["ablation"]), list(row["choice_logprobs"])
    assert rows == expected
    part = run.parts()[0]
    assert (part.cell, part.key, part.results) == (CELL, TaskKey("mc", "t", 5), (RESULT,))


def test_finish_collects_results_and_writes_done_last(tmp_path):
    run = start(tmp_path)
    with pytest.raises(MissingData, match="measured nothing"):
        run.finish()
    run.write_task(CELL, "mc", "t", [SAMPLE], [RESULT])
    with pytest.raises(UnfinishedRun, match="--resume"):
        RunDirectory.open(run.path)
    run.finish()
    assert RunDirectory.open(run.path).is_finished
    row = pq.read_table(run.path / "results.parquet").to_pylist()[0]
    assert (row["plugin"], row["ablation"], row["value"], row["config"]) == (
        "spinquant",
        ["r4"],
        0.5,
        "spinquant+no-r4",
    )
    assert (run.path / "done").stat().st_mtime_ns >= (run.path / "results.parquet").stat().st_mtime_ns


def test_resume_knows_what_is_done_for_exactly_this_configuration(tmp_path):
    run = start(tmp_path)
    run.write_task(CELL, "mc", "t", [SAMPLE], [RESULT])
    run.write_task(CELL, "mc", "t", [SAMPLE], [replace(RESULT, num_fewshot=0)])
    again = RunDirectory.open(run.path, unfinished=True)
    assert again.finished_tasks(CELL) == {TaskKey("mc", "t", 5), TaskKey("mc", "t", 0)}
    assert again.finished_tasks(replace(CELL, artifact_digest="d2")) == set()
    assert again.finished_tasks(replace(CELL, ablation=())) == set()


def test_a_result_clears_the_failure_it_repairs(tmp_path):
    run = start(tmp_path)
    run.record_failure(CELL, TaskFailure("mc", "t", "no data"), traceback="...")
    run.record_failure(CELL, TaskFailure("mc", "t", "still no data"))
    run.record_failure(CELL, TaskFailure("mc", "u", "no data"))
    assert [f["reason"] for f in run.failures()] == ["still no data", "no data"]
    run.write_task(CELL, "mc", "t", [SAMPLE], [RESULT])
    assert [f["task"] for f in run.failures()] == ["u"]


def test_a_writer_killed_between_files_leaves_a_readable_unfinished_run(tmp_path):
    code = f"""
import os, signal
from qharness.results.directory import RunDirectory
from qharness.results.schema import Cell, Result, Sample
from qharness.results import files
cell, sample, result = {CELL!r}, {SAMPLE!r}, {RESULT!r}
run = RunDirectory.create({str(tmp_path)!r}, {{"suites": []}})
run.write_task(cell, "mc", "t", [sample], [result])
real = os.replace
def die(source, target):
    os.kill(os.getpid(), signal.SIGKILL)
files.os.replace = die
run.write_task(cell, "mc", "second", [sample], [result])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == -9, done.stderr
    (path,) = tmp_path.iterdir()
    with pytest.raises(UnfinishedRun, match="1 tasks stored"):
        RunDirectory.open(path)
    run = RunDirectory.open(path, unfinished=True)
    assert {key.task for key in run.finished_tasks(CELL)} == {"t"}
    assert query("select count(*) as n from samples", [run]).rows == ((1,),)
    assert list(path.rglob(".tmp-*"))
    run.reopen()
    assert not list(path.rglob(".tmp-*"))
    run.write_task(CELL, "mc", "second", [SAMPLE], [replace(RESULT, task="second")])
    run.finish()
    assert len(show(RunDirectory.open(path))["results"]) == 2


def test_a_failing_writer_leaves_nothing(tmp_path):
    def fail(path):
        path.write_text("half")
        raise RuntimeError

    (tmp_path / "x").write_text("old")
    with pytest.raises(RuntimeError):
        write_atomically(tmp_path / "x", fail)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x", "old")]


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match=f"{tmp_path}/file.*--runs"):
        start(tmp_path / "file")


def test_open_explains_what_is_no_run(tmp_path):
    with pytest.raises(NotARun, match="There is no run"):
        RunDirectory.open(tmp_path / "nothing")
    run = start(tmp_path)
    with pytest.raises(NotARun, match=f"latest run in .* is '{run.run_id}'"):
        RunDirectory.open(tmp_path)
    info = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**info, "schema_version": 99}))
    with pytest.raises(NotARun, match="schema 99"):
        RunDirectory.open(run.path)
    assert find_runs(tmp_path) == []


def test_a_damaged_part_is_named(tmp_path):
    run = start(tmp_path)
    run.write_task(CELL, "mc", "t", [SAMPLE], [RESULT])
    path = run.parts()[0].path
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CorruptArtifact, match="part-5shot"):
        run.parts()


def test_run_ids_sort_by_time_and_do_not_collide(tmp_path):
    ids = [start(tmp_path).run_id for _ in range(5)]
    assert len(set(ids)) == 5
    assert sorted(i[:15] for i in ids) == [i[:15] for i in ids]


def test_configuration_names_separate_all_that_differs():
    cells = [
        CELL,
        replace(CELL, ablation=()),
        replace(CELL, ablation=("r3", "r4")),
        replace(CELL, kv_bits=4),
        replace(CELL, seed=3),
        replace(CELL, calibration="en"),
        replace(CELL, engine="vllm"),
        replace(CELL, dtype="bfloat16"),
    ]
    names = [config_id(cell, {"calibration": "demo"}) for cell in cells]
    assert names[:4] == ["spinquant+no-r4", "spinquant", "spinquant+no-r3+no-r4", "spinquant+no-r4+kv4"]
    assert len(set(names)) == len(cells)


def test_labels_say_only_what_differs():
    cells = {"a": Cell("fp16", "m", "1"), "b": Cell("rtn", "m", "2", kv_bits=4), "c": CELL}
    assert labels(cells) == {"a": "fp16", "b": "rtn, KV 4 bits", "c": "spinquant, without R4"}


@pytest.mark.parametrize("name", ["..", "a/b", "/etc", "", ".hidden", "ż ó"])
def test_no_name_leaves_its_folder(tmp_path, name):
    safe = folder_name(name)
    assert safe and "/" not in safe and not safe.startswith(".")
    run = start(tmp_path)
    run.write_task(Cell(name, "m", "d"), "mc", name, [SAMPLE], [RESULT])
    assert len(run.parts()) == 1
    assert all(run.path in part.path.resolve().parents for part in run.parts())


def test_show_has_exactly_the_promised_fields(tmp_path):
    run = start(tmp_path)
    run.write_task(CELL, "mc", "t", [SAMPLE], [RESULT])
    artifact = {
        "plugin": "spinquant",
        "path": "a",
        "nominal_bits": 2.0,
        "stored_bpw": 2.1,
        "model_bpw": 3.0,
        "size_bytes": 9,
    }
    run.write_artifact({**artifact, "size_bytes": 8})
    run.write_artifact(artifact)
    run.write_verdicts([Verdict("spinquant", ("r4",), "hf", 16, "collapsed", {"reason": "Gone."}, "spinquant+no-r4")])
    run.write_rows([{"row": "G", "purpose": "no R4", "config": "spinquant+no-r4"}])
    run.finish()
    found = json.loads(json.dumps(show(RunDirectory.open(run.path))))
    assert list(found)[:4] == ["run", "results", "verdicts", "artifacts"]
    promised = [
        *("plugin", "model", "seed", "ablation", "engine", "kernels", "dtype", "kv_bits", "calibration", "evaluator"),
        *("suite", "task", "kind", "metric", "filter", "num_fewshot", "n", "value", "stderr", "baseline"),
        *("normalized", "invalid_rate", "data"),
    ]
    assert list(RESULT_FIELDS) == promised
    assert set(promised) <= found["results"][0].keys()
    assert found["results"][0]["ablation"] == ["r4"]
    assert found["verdicts"] == [
        {"config": "spinquant+no-r4", "plugin": "spinquant", "variant": "", "seed": 0, "calibration": "",
         "ablation": ["r4"], "engine": "hf", "kv_bits": 16, "kv_prefill": "",
         "rows": [{"row": "G", "purpose": "no R4"}], "verdict": "collapsed", "evidence": {"reason": "Gone."}}
    ]  # fmt: skip
    assert found["artifacts"] == [artifact]
    assert found["run"]["digests"] == {"model": "abc"}


def test_query_joins_runs_and_explains_mistakes(tmp_path):
    runs = [start(tmp_path), start(tmp_path)]
    for run in runs:
        run.write_task(CELL, "mc", "t", [SAMPLE], [RESULT])
    answer = query("select run_id, avg(value) as acc from samples where metric = 'acc' group by 1 order by 1", runs)
    assert answer.records() == [{"run_id": i, "acc": 1.0} for i in sorted(r.run_id for r in runs)]
    assert query("select r.value from results r join runs using (run_id) where not finished", runs).rows == (
        (0.5,),
        (0.5,),
    )
    assert query("select count(*) from samples", [start(tmp_path)]).rows == ((0,),)
    with pytest.raises(UsageError, match="tables are samples, results and runs"):
        query("select nothing from nowhere", runs)


def test_showing_imports_neither_torch_nor_pandas(tmp_path):
    run = start(tmp_path)
    run.write_task(CELL, "mc", "t", [SAMPLE], [RESULT])
    code = f"""
import sys
import qharness.results.show, qharness.results.tables, qharness.results.directory, qharness.results.query
assert not {{"pandas", "pyarrow", "duckdb", "numpy"}} & set(sys.modules), "heavy imports"
qharness.results.show.show(qharness.results.directory.RunDirectory.open({str(run.path)!r}, unfinished=True))
assert not {{"torch", "pandas", "transformers", "duckdb"}} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
