"""All tasks through stock `lm_eval.simple_evaluate`, and few-shot draws as lm-eval makes them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from qharness_tasks_pl import SUITES, TASKS, load_tasks, task_manager
from qharness_tasks_pl.data.splits import Splits

ALL = {task.name: task for suite in SUITES for task in (*suite.tasks, *suite.companions)}
MC = ["acc,none", "acc_norm,none"]
LETTER = ["exact_match,score-first", "invalid_rate,score-first"]
KEYS = {
    "polish_dyk_multiple_choice": ["acc,none", "f1,none", "acc_norm,none"],
    "polish_psc_multiple_choice": ["acc,none", "f1,none", "acc_norm,none"],
    "polish_cbd_multiple_choice": ["acc,none", "f1,none", "acc_norm,none"],
    "polish_dyk_regex": ["exact_match,score-first", "f1,score-first", "invalid_rate,score-first"],
    "polish_psc_regex": ["exact_match,score-first", "f1,score-first", "invalid_rate,score-first"],
    "polish_cbd_regex": ["exact_match,score-first", "f1,score-first", "invalid_rate,score-first"],
    "polish_polqa_open_book": ["exact_match,none", "levenshtein,none"],
    "polish_polqa_closed_book": ["exact_match,none", "levenshtein,none"],
    "polish_poquad_open_book": ["exact_match,none", "levenshtein,none"],
    "polish_eq_bench": [
        "first_eqbench,none",
        "first_percent_parseable,none",
        "revised_eqbench,none",
        "revised_percent_parseable,none",
        "average_eqbench,none",
    ],
    "polish_eq_bench_first_turn": ["first_eqbench,none", "first_percent_parseable,none"],
}


def evaluate(model: Any, manager: TaskManager, names: list[Any], num_fewshot: int = 5) -> dict[str, Any]:
    results = simple_evaluate(
        model, tasks=names, task_manager=manager, num_fewshot=num_fewshot, bootstrap_iters=0, limit=None
    )
    assert results is not None
    return dict(results)


@pytest.fixture(scope="module")
def yaml_files() -> dict[str, Path]:
    paths = [path for path in TASKS.rglob("*.yaml") if not path.name.startswith("_")]
    return {load_yaml(path, resolve_func=False)["task"]: path for path in paths}


def test_every_task_runs_and_gives_all_metric_keys_in_order(world: Path, oracle):
    results = evaluate(oracle, task_manager(world), list(ALL))
    for name, spec in ALL.items():
        found = [key for key in results["results"][name] if "," in key and "_stderr" not in key]
        default = MC if spec.kind == "mc" else LETTER if spec.is_official else ["exact_match,none", "invalid_rate,none"]
        assert found == KEYS.get(name, default), name
        assert f"{spec.metric},{spec.filter}" in found
        assert results["n-shot"][name] == (0 if name == "polish_eq_bench" else 5)


def test_recorded_scores_follow_from_the_samples(world: Path, oracle):
    names = ["polish_dyk_regex", "polish_polqa_open_book", "paired_ppc_text"]
    results = evaluate(oracle, task_manager(world), names)
    samples, scores = results["samples"]["polish_dyk_regex"], results["results"]["polish_dyk_regex"]
    letters = [sample["filtered_resps"][0] for sample in samples]
    assert scores["invalid_rate,score-first"] == letters.count("[invalid]") / len(letters)
    hits = sum(sample["target"] == letter for sample, letter in zip(samples, letters, strict=True))
    assert scores["exact_match,score-first"] == hits / len(letters)
    wanted = [float("Łukasiewicz" in sample["resps"][0][0]) for sample in results["samples"]["polish_polqa_open_book"]]
    assert [sample["levenshtein"] for sample in results["samples"]["polish_polqa_open_book"]] == wanted
    assert [sample["exact_match"] for sample in results["samples"]["polish_polqa_open_book"]] == wanted
    assert results["results"]["paired_ppc_text"]["invalid_rate,none"] == 1.0


@pytest.mark.parametrize("name", list(ALL))
def test_prompts_equal_those_of_a_stock_task(world: Path, yaml_files, name):
    config = load_yaml(yaml_files[name])
    config.pop("class")
    config.pop("tag", None)
    data = config["dataset_path"], config.get("dataset_name")
    stock = ConfigurableTask(config=config | {"custom_dataset": lambda **_: Splits(name, *data, str(world))})
    ours = load_tasks([name], world)[name]
    for task in (stock, ours):
        task.set_config("num_fewshot", 5)
        task.set_fewshot_seed(1234)
        task.build_all_requests()
    assert [instance.args for instance in ours.instances] == [instance.args for instance in stock.instances]


def test_draws_are_samples_of_the_train_split_seeded_with_1234(world: Path):
    name = "polish_8tags_multiple_choice"
    task = load_tasks([name], world)[name]
    task.set_fewshot_seed(1234)
    generator = random.Random(1234)
    pool = list(task.dataset["train"])
    for doc in task.eval_docs:
        examples = generator.sample(pool, 5)
        shots = [task.doc_to_text(e) + " " + task.doc_to_choice(e)[e["label"]] + "\n\n" for e in examples]
        assert task.fewshot_context(doc, num_fewshot=5) == "".join(shots) + task.doc_to_text(doc)


def test_belebele_mc_takes_the_first_documents_but_never_the_evaluated_one(world: Path):
    name = "polish_belebele_mc"
    task = load_tasks([name], world)[name]
    docs = list(task.eval_docs)
    for index, doc in enumerate(docs):
        others = [other for position, other in enumerate(docs) if position != index][:5]
        prompt = task.fewshot_context(doc, num_fewshot=5)
        assert prompt == "".join(
            task.doc_to_text(o) + " " + "ABCD"[int(o["correct_answer_num"]) - 1] + "\n\n" for o in others
        ) + task.doc_to_text(doc)


def test_belebele_regex_may_show_the_evaluated_document(world: Path):
    name = "polish_belebele_regex"
    task = load_tasks([name], world)[name]
    task.set_fewshot_seed(1234)
    seen = [task.fewshot_context(doc, num_fewshot=5).count(doc["question"]) - 1 for doc in task.eval_docs]
    assert any(seen)


@pytest.mark.parametrize("spec", [spec for spec in ALL.values() if not spec.is_official], ids=lambda spec: spec.name)
def test_text_answers_use_the_documents_and_examples_of_their_mc_sibling(world: Path, spec):
    tasks = load_tasks([spec.sibling, spec.name], world)
    drawn: dict[str, list[Any]] = {name: [] for name in tasks}
    for name, task in tasks.items():
        task.set_fewshot_seed(1234)
        sample = task.sampler.sample
        task.sampler.sample = lambda *a, _s=sample, _n=name, **k: drawn[_n].append(_s(*a, **k)) or drawn[_n][-1]
        for doc in task.eval_docs:
            task.fewshot_context(doc, num_fewshot=5)
    assert list(tasks[spec.name].eval_docs) == list(tasks[spec.sibling].eval_docs)
    assert drawn[spec.name] == drawn[spec.sibling]
    assert len(drawn[spec.name]) == 8


def test_polemo2_in_agrees_with_the_stock_task(world: Path, oracle):
    import lm_eval

    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / "polemo2" / "polemo2_in.yaml")
    config.pop("tag")
    metric = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}  # hf_evaluate needs the hub
    splits = Splits("polemo2_in", "allegro/klej-polemo2-in", None, str(world))
    config |= {"metric_list": [metric], "custom_dataset": lambda **_: splits}
    stock_model, our_model = oracle, type(oracle)()
    stock = evaluate(stock_model, TaskManager(include_defaults=False), [config], 0)
    ours = evaluate(our_model, task_manager(world), ["polemo2_in"], 0)
    assert our_model.prompts == stock_model.prompts
    assert our_model.settings == stock_model.settings
    index = {"A": 0, "B": 1, "C": 2, "D": 3, "[invalid]": -1}
    for one, other in zip(ours["samples"]["polemo2_in"], stock["samples"]["polemo2_in"], strict=True):
        assert one["resps"] == other["resps"]
        assert str(index[one["target"]]) == other["target"]
        assert [index[letter] for letter in one["filtered_resps"]] == other["filtered_resps"]
        assert one["exact_match"] == other["exact_match"]
    assert ours["results"]["polemo2_in"]["exact_match,score-first"] == pytest.approx(
        stock["results"]["polemo2_in"]["exact_match,score-first"]
    )


def test_polemo2_in_draws_the_examples_of_the_stock_task(world: Path):
    import lm_eval

    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / "polemo2" / "polemo2_in.yaml")
    config.pop("tag")
    splits = Splits("polemo2_in", "allegro/klej-polemo2-in", None, str(world))
    stock = ConfigurableTask(config=config | {"metric_list": [], "custom_dataset": lambda **_: splits})
    ours = load_tasks(["polemo2_in"], world)["polemo2_in"]
    stock.set_fewshot_seed(1234)
    ours.set_fewshot_seed(1234)
    for doc in ours.eval_docs:
        prompt = ours.fewshot_context(doc, num_fewshot=5)
        for letter, digit in zip("ABCD", "0123", strict=True):  # stock examples show the class number
            prompt = prompt.replace(f"odpowiedź: {letter}\n", f"odpowiedź: {digit}\n")
        assert prompt == stock.fewshot_context(doc, num_fewshot=5)
