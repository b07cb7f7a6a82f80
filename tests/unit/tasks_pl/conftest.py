"""Fixture documents of ours for every data set, and a deterministic language model."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

Row = dict[str, Any]
POLEMO = ("__label__meta_zero", "__label__meta_minus_m", "__label__meta_plus_m", "__label__meta_amb")
CBD = ("nieszkodliwa", "szyderstwo", "obelga", "insynuacja", "grozba", "molestowanie")
NER = ("noEntity", "placeName", "persName", "orgName", "time", "geogName")


def emotions(*scores: int) -> str:
    names = ("Złość", "Ulga", "Wstyd i żal", "Duma")
    fields: Row = {f"emotion{i}": name for i, name in enumerate(names, 1)}
    return str(fields | {f"emotion{i}_score": score for i, score in enumerate(scores, 1)})


def rows(data_set: str, split: str, n: int = 8) -> list[Row]:
    """Return `n` different documents of a data set, with the official columns."""

    def make(i: int) -> Row:
        tag = f"{split} {i}"
        match data_set:
            case "klej-polemo2-in" | "klej-polemo2-out":
                return {"sentence": f"Opinia o hotelu, {tag}.", "target": POLEMO[i % 4]}
            case "8tags":
                return {"sentence": f"Nagłówek {tag}", "label": i % 8}
            case "belebele":
                answers = {f"mc_answer{k}": f"odpowiedź '{k}' z {tag}" for k in range(1, 5)}
                passage = f"Długi fragment {split} {i // 2}."
                return {"flores_passage": passage, "question": f"O co chodzi, {tag}?", **answers} | {
                    "correct_answer_num": str(i % 4 + 1)
                }
            case "PolishCyberbullyingDataset":
                return {"TEXT": f"wpis {tag}", "CATEGORIES": CBD[i % 6], "TAGS": int(i % 6 > 0)}
            case "klej-dyk":
                return {"q_id": str(i), "question": f"Kto to, {tag}?", "answer": f"To on, {i}.", "target": str(i % 2)}
            case "klej-nkjp-ner":
                return {"sentence": f"Jan był w Łodzi {tag}.", "target": NER[i % 6]}
            case "ppc":
                return {"sentence_A": f"Zdanie {tag}", "sentence_B": f"Inne {tag}", "label": i % 3 + 1}
            case "klej-psc":
                return {"extract_text": f"Tekst {tag}", "summary_text": f"Skrót {tag}", "label": i % 2}
            case "polqa":
                return {
                    "question_id": i // 2,
                    "question": f"Kto wynalazł rzecz {split} {i // 2}?",
                    "passage_text": f"Akapit {tag}.",
                    "answers": str([f"Wynalazca {'abcdefgh'[i // 2]}", "Łukasiewicz"]),
                    "relevant": i % 4 != 3,
                }
            case "poquad":
                text = [f"cytat {tag}"] if i % 3 else []
                answers = {"text": text, "answer_start": [0] * len(text)}
                return {"id": tag, "title": f"Hasło {i // 4}", "context": f"Kontekst {i // 2}.", "answers": answers} | {
                    "question": f"Co mówi {tag}?"
                }
            case "EQ-Bench-PL":
                full = emotions(i % 10, 2, 3, 4)
                return {"prompt": f"Dialog {tag}", "reference_answer": emotions(1, 2, 3, 4)} | {
                    "reference_answer_fullscale": full
                }
            case "EQ-Bench-PL-first-turn":
                return {"prompt": f"Dialog {tag}", "reference_answer": emotions(i % 10, 2, 3, 4)}
        raise AssertionError(data_set)

    return [make(i) for i in range(n)]


SPLITS = {
    "klej-polemo2-in": ("train", "validation", "test"),
    "klej-polemo2-out": ("train", "validation", "test"),
    "8tags": ("train", "validation", "test"),
    "belebele": ("test",),
    "PolishCyberbullyingDataset": ("train", "test"),
    "klej-dyk": ("train", "test"),
    "klej-nkjp-ner": ("train", "validation", "test"),
    "ppc": ("train", "validation", "test"),
    "klej-psc": ("train", "test"),
    "polqa": ("train", "validation", "test"),
    "poquad": ("train", "validation"),
    "EQ-Bench-PL": ("validation",),
    "EQ-Bench-PL-first-turn": ("validation",),
}


def write_split(folder: Path, data_set: str, split: str, documents: list[Row]) -> Path:
    path = folder / data_set / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in documents), encoding="utf-8")
    return path


def write_world(folder: Path) -> Path:
    for data_set, splits in SPLITS.items():
        for split in splits:
            write_split(folder, data_set, split, rows(data_set, split, 16 if data_set == "polqa" else 8))
    return folder


class Oracle(LM):
    """Answers from a digest of the prompt, and remembers what it was asked."""

    RESPONSES = ("B", " C. Koniec", "film", "nic", "Tak, odpowiedź jest poprawna.", "D, albo A", "Łukasiewicz", "7")

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[str] = []
        self.settings: list[Row] = []

    def _digest(self, *texts: str) -> int:
        return int(hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8], 16)

    def loglikelihood(self, requests: list[Instance], **kwargs: Any) -> list[tuple[float, bool]]:
        self.prompts += [request.args[0] for request in requests]
        return [(-(self._digest(*request.args) % 1000) / 100, False) for request in requests]

    def generate_until(self, requests: list[Instance], **kwargs: Any) -> list[str]:
        self.prompts += [request.args[0] for request in requests]
        self.settings += [request.args[1] for request in requests]
        return [self.RESPONSES[self._digest(request.args[0]) % len(self.RESPONSES)] for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance], **kwargs: Any) -> list[float]:
        raise NotImplementedError


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every data set."""
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def make_rows() -> Callable[..., list[Row]]:
    return rows


@pytest.fixture
def put_split() -> Callable[..., Path]:
    return write_split


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real Polish data beside the repository, or where QHARNESS_SHARED says."""
    root = Path(__file__).parents[3]
    folder = Path(os.environ.get("QHARNESS_SHARED", root.parent / "shared")) / "data"
    assert folder.is_dir(), f"{folder} is missing: set QHARNESS_SHARED to the folder above data/8tags and data/poquad"
    return folder
