"""Data sources and what users read when something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Dataset

from qharness.errors import MissingData, UnknownName
from qharness_tasks_pl import load_tasks
from qharness_tasks_pl.data import hub
from qharness_tasks_pl.polqa import closed_book, open_book, reranking


def test_parquet_and_jsonl_give_the_same_documents(tmp_path: Path, make_rows, put_split):
    for split in ("train", "test"):
        rows = make_rows("ppc", split)
        put_split(tmp_path / "json", "ppc", split, rows)
        target = tmp_path / "parquet" / "ppc" / f"{split}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_list(rows).to_parquet(target)
    name = "polish_ppc_multiple_choice"
    one, other = (load_tasks([name], tmp_path / kind)[name] for kind in ("json", "parquet"))
    assert list(one.eval_docs) == list(other.eval_docs) == make_rows("ppc", "test")


def test_missing_folder_data_set_and_split_name_task_data_set_and_remedy(tmp_path: Path, make_rows, put_split):
    with pytest.raises(MissingData, match=r"Task polish_dyk_regex needs split test of klej-dyk: there is no folder"):
        load_tasks(["polish_dyk_regex"], tmp_path / "nowhere")
    with pytest.raises(MissingData, match=r"klej-dyk has no data files; put test.jsonl or test.parquet there"):
        load_tasks(["polish_dyk_regex"], tmp_path)
    put_split(tmp_path, "klej-dyk", "train", make_rows("klej-dyk", "train"))
    with pytest.raises(MissingData, match=r"klej-dyk has only train; put test.jsonl or test.parquet there"):
        load_tasks(["polish_dyk_regex"], tmp_path)


def test_missing_column_empty_split_and_broken_lines(tmp_path: Path, put_split):
    path = put_split(tmp_path, "klej-dyk", "test", [{"question": "Kto?", "answer": "On."}])
    with pytest.raises(MissingData, match=r"of klej-dyk with column target; it has question, answer"):
        load_tasks(["polish_dyk_regex"], tmp_path)
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(MissingData, match="has no documents"):
        load_tasks(["polish_dyk_regex"], tmp_path)
    path.write_text('{"question": "a"}\n{"question"', encoding="utf-8")
    with pytest.raises(MissingData, match=r"line 2 of .*test.jsonl is no JSON object"):
        load_tasks(["polish_dyk_regex"], tmp_path)
    path.write_text('{"target": 1}\n{"target": "x"}\n', encoding="utf-8")
    with pytest.raises(MissingData, match="differ in type"):
        load_tasks(["polish_dyk_regex"], tmp_path)
    path.unlink()
    path.with_suffix(".parquet").write_bytes(b"PAR1 not")
    with pytest.raises(MissingData, match="no readable parquet"):
        load_tasks(["polish_dyk_regex"], tmp_path)


def test_a_missing_few_shot_split_stops_few_shot_runs_only(tmp_path: Path, make_rows, put_split):
    name = "polish_poquad_open_book"
    put_split(tmp_path, "poquad", "validation", make_rows("poquad", "validation"))
    task = load_tasks([name], tmp_path)[name]
    doc = task.eval_docs[0]
    assert task.fewshot_context(doc, num_fewshot=0) == task.doc_to_text(doc)
    with pytest.raises(MissingData, match=r"polish_poquad_open_book needs split train of poquad: .* --num-fewshot 0"):
        task.fewshot_context(doc, num_fewshot=5)


def test_a_pool_smaller_than_the_examples_says_so(tmp_path: Path, make_rows, put_split):
    name = "polish_belebele_mc"
    put_split(tmp_path, "belebele", "test", make_rows("belebele", "test", 5))
    task = load_tasks([name], tmp_path)[name]
    assert task.fewshot_context(task.eval_docs[0], num_fewshot=4)
    with pytest.raises(MissingData, match="needs 6 documents to draw 5 examples from, and its few-shot split has 5"):
        task.fewshot_context(task.eval_docs[0], num_fewshot=5)


def test_unknown_task(world: Path):
    with pytest.raises(UnknownName, match="Did you mean 'polish_dyk_regex'"):
        load_tasks(["polish_dyk_regexp"], world)


def test_an_unreachable_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route\nlong details")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(MissingData) as caught:
        load_tasks(["polish_eq_bench"], "hub")
    assert str(caught.value) == (
        "Task polish_eq_bench needs split validation of EQ-Bench-PL: the hub did not give speakleash/EQ-Bench-PL "
        "(no route); it is private: log in with an account that has access, or put your copy at "
        "DIR/EQ-Bench-PL/validation.jsonl and give --data DIR."
    )


def test_the_hub_is_asked_for_configuration_and_parquet_revision(monkeypatch: pytest.MonkeyPatch, make_rows):
    asked: list[tuple[object, ...]] = []

    def give(hub_id: str, config: str | None, split: str, revision: str | None = None) -> Dataset:
        asked.append((hub_id, config, split, revision))
        return Dataset.from_list(make_rows(hub_id.split("/")[1], split))

    monkeypatch.setattr("datasets.load_dataset", give)
    load_tasks(["polish_belebele_mc", "polish_poquad_open_book"], "hub")
    assert asked == [
        ("facebook/belebele", "pol_Latn", "test", None),
        ("clarin-pl/poquad", None, "train", "refs/convert/parquet"),
        ("clarin-pl/poquad", None, "validation", "refs/convert/parquet"),
    ]


def test_polqa_reads_the_data_files_of_its_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = tmp_path / "test.csv"
    path.write_text(
        "question_id,question,passage_text,answers,relevant\n"
        '1,"Kto, gdzie?","Wiersz 1\nwiersz 2","[\'Jan\', \'Łódź\']",True\n2,NA,null,"[\'x\']",False\n',
        encoding="utf-8",
    )
    asked: list[object] = []

    def download(repo: str, file: str, repo_type: str) -> str:
        asked.append((repo, file, repo_type))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    docs = reranking(hub.read_split("ipipan/polqa", None, "validation"))
    assert asked == [("ipipan/polqa", "data/valid.csv", "dataset")]
    assert docs[0] == {
        "question": "Kto, gdzie?",
        "passage_text": "Wiersz 1\nwiersz 2",
        "answers": ["Jan", "Łódź"],
        "relevant": 1,
    }
    assert docs[1]["question"] == "NA"
    assert docs[1]["relevant"] == 0


def test_polqa_keeps_the_first_of_each():
    def row(question: str, passage: str, relevant: object, answers: object = "['a']") -> dict[str, object]:
        extra = {"question_id": 1, "passage_source": "human"}
        return {"question": question, "passage_text": passage, "relevant": relevant, "answers": answers} | extra

    docs = Dataset.from_list(
        [
            row("q1", "p1", False),
            row("q1", "p1", True),
            row("q1", "p2", True, "['b', 'c']"),
            row("q1", "p3", True),
            row("q2", "p1", True),
        ]
    )
    assert [(d["question"], d["passage_text"], d["relevant"]) for d in reranking(docs)] == [
        ("q1", "p1", 0),
        ("q1", "p2", 1),
        ("q1", "p3", 1),
        ("q2", "p1", 1),
    ]
    assert [(d["question"], d["passage_text"]) for d in open_book(docs)] == [
        ("q1", "p1"),
        ("q1", "p2"),
        ("q1", "p3"),
        ("q2", "p1"),
    ]
    assert [(d["question"], d["passage_text"]) for d in closed_book(docs)] == [("q1", "p1"), ("q2", "p1")]
    assert open_book(docs)[1]["answers"] == ["b", "c"]
    assert set(open_book(docs).column_names) == {"question", "passage_text", "answers", "relevant"}
