from __future__ import annotations

import ast
import statistics
from collections import Counter

import pytest

from qharness_demo import DATA_DIR, MODEL_DIR
from qharness_demo.build import folders, write_data
from qharness_demo.selfcheck import process, prompts, read
from qharness_demo.tasks.prompts import TASKS
from qharness_demo.tokens import Encoder


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_documents_examples_and_prompts_near_400_tokens(name: str) -> None:
    task = TASKS[name]
    data = read(DATA_DIR / task.folder)
    posed = prompts(task, data, 200)
    assert len(posed) >= 100
    if task.folder != "belebele":
        assert len(process(task, data["train"])) >= 60
    encode = Encoder(MODEL_DIR)
    assert statistics.fmean(len(encode(p)) for p, _ in posed[:60]) < 680


@pytest.mark.parametrize("name", [n for n, t in TASKS.items() if t.kind == "mc"])
def test_no_label_dominates(name: str) -> None:
    task = TASKS[name]
    data = read(DATA_DIR / task.folder)
    counts = Counter(task.target(r) for r in process(task, data["test"]))
    assert set(counts) == set(task.choices)
    assert max(counts.values()) < 0.65 * sum(counts.values())


def test_quotations_stand_where_they_say() -> None:
    for split in ("train", "validation"):
        for row in read(DATA_DIR / "poquad")[split]:
            answers = row["answers"]
            for text, start in zip(answers["text"], answers["answer_start"], strict=True):
                assert row["context"][start : start + len(text)] == text


def test_polqa_answers_are_lists_and_the_relevant_passage_states_them() -> None:
    rows = read(DATA_DIR / "polqa")["test"]
    assert all(isinstance(ast.literal_eval(r["answers"]), list) for r in rows)
    assert sum(r["relevant"] for r in rows) * 2 == len(rows)


def test_building_twice_gives_the_same_bytes(tmp_path) -> None:
    write_data(tmp_path)
    for folder in folders():
        for path in (tmp_path / folder).iterdir():
            assert path.read_bytes() == (DATA_DIR / folder / path.name).read_bytes()
