from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest

from qharness.evaluation.base import EvaluationContext


def _engines_conftest():
    name = "qharness_engine_fixtures"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "engines" / "conftest.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_shared = _engines_conftest()
make_engine, tokenizer, one_thread = _shared.make_engine, _shared.tokenizer, _shared.one_thread
make_untouched = _shared.make_untouched
WORDS = ["mecz", "film", "zupa", "lekarz", "silnik", "praca", "zamek", "komputer", "stary", "nowy", "duży", "mały"]


def _write(folder: Path, split: str, rows: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / f"{split}.jsonl").write_text(text + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def model():
    return _shared.small_model(max_position_embeddings=2048)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """8TAGS and DYK with made-up documents."""
    root, rng = tmp_path_factory.mktemp("data"), random.Random(0)
    for split, count in (("train", 12), ("validation", 12), ("test", 7)):
        titles = [" ".join(rng.sample(WORDS, 3)) for _ in range(count)]
        _write(root / "8tags", split, [{"sentence": t, "label": rng.randrange(8)} for t in titles])
        pairs = [{"q_id": str(i), "question": f"Co to {t}?", "answer": t} for i, t in enumerate(titles)]
        _write(root / "klej-dyk", split, [{**p, "target": str(i % 2)} for i, p in enumerate(pairs)])
    return root


@pytest.fixture(scope="session")
def suite():
    from qharness_tasks_pl.suites import SUITES

    return next(suite for suite in SUITES if suite.name == "polish22")


@pytest.fixture
def make_context(make_engine, suite, data):
    specs = {spec.name: spec for spec in (*suite.tasks, *suite.companions)}

    def make(*names, engine=None, **settings):
        tasks = [specs[name] for name in names]
        chosen = {"num_fewshot": 2} | settings
        return EvaluationContext(engine or make_engine(), suite, tasks, str(data), "made up", **chosen)

    return make
