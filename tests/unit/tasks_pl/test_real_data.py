"""Real test splits, read from the folder beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from qharness.errors import MissingData
from qharness_tasks_pl import load_tasks
from qharness_tasks_pl.constant_predictor import best_constant_score


def test_8tags_has_the_leaderboards_size_majority_and_few_shot_prompt(shared: Path):
    name = "polish_8tags_multiple_choice"
    task = load_tasks([name], shared)[name]
    gold = list(task.eval_docs["label"])
    assert len(gold) == 4372
    assert best_constant_score(gold, "acc") == pytest.approx(627 / 4372)
    assert round(best_constant_score(gold, "acc"), 4) == 0.1434
    task.set_fewshot_seed(1234)
    prompt = task.fewshot_context(task.eval_docs[0], num_fewshot=5)
    shots = prompt.split("\n\n")
    assert len(shots) == 6
    train = set(task.dataset["train"]["sentence"])
    assert all(shot.split('"', 1)[1].rsplit('"\nDo podanego', 1)[0] in train for shot in shots[:5])
    assert prompt.endswith("Motoryzacja, Praca, Sport, Technologie.\nKategoria:")
    assert task.eval_docs[0]["sentence"] in shots[5]


def test_poquad_dev_loads_and_says_what_it_lacks(shared: Path):
    name = "polish_poquad_open_book"
    task = load_tasks([name], shared)[name]
    docs = list(task.eval_docs)
    assert len(docs) == 3690
    assert sum(not doc["answers"]["text"] for doc in docs) == 637
    assert task.fewshot_context(docs[0], num_fewshot=0).startswith("Tytuł: Miszna \n Kontekst: Pisma rabiniczne")
    with pytest.raises(MissingData, match="needs split train of poquad"):
        task.fewshot_context(docs[0], num_fewshot=5)


def test_the_best_constant_answer_of_poquad_is_that_there_is_none(shared: Path):
    name = "polish_poquad_open_book"
    task = load_tasks([name], shared)[name]
    gold = [(doc["answers"]["text"] or ["bez odpowiedzi"])[0] for doc in task.eval_docs]
    assert best_constant_score(gold, "levenshtein") == pytest.approx(637 / 3690)
