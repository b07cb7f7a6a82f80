"""Splits read from the Hugging Face hub.

Two data sets are loading scripts, which `datasets` 4 and later do not run: PolQA's data files are read directly,
PoQuAD from the hub's own parquet conversion.
"""

from __future__ import annotations

import csv
from typing import Any

from datasets import Dataset

from qharness.errors import MissingData
from qharness_tasks_pl.data.sets import DATA_SETS

POLQA = "ipipan/polqa"
POLQA_FILES = {"train": "data/train.csv", "validation": "data/valid.csv", "test": "data/test.csv"}
REVISIONS = {"clarin-pl/poquad": "refs/convert/parquet"}


def read_split(hub_id: str, config: str | None, split: str) -> Dataset:
    """Download one split, or take it from the hub's cache.

    Args:
        hub_id: Id of the data set.
        config: Its configuration, if it has several.
        split: `train`, `validation` or `test`.

    Raises:
        MissingData: It cannot be had: no network, no access, no such split.
    """
    try:
        return _polqa(split) if hub_id == POLQA else _load(hub_id, config, split)
    except Exception as error:  # the hub's libraries raise a dozen unrelated types
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        data = DATA_SETS[hub_id]
        private = "it is private: log in with an account that has access, or " if data.private else ""
        remedy = f"{private}put your copy at DIR/{data.name}/{split}.jsonl and give --data DIR"
        raise MissingData(f"the hub did not give {hub_id} ({reason}); {remedy}.") from error


def _load(hub_id: str, config: str | None, split: str) -> Dataset:
    from datasets import load_dataset

    options: dict[str, Any] = {"revision": REVISIONS[hub_id]} if hub_id in REVISIONS else {}
    return load_dataset(hub_id, config, split=split, **options)


def _polqa(split: str) -> Dataset:
    from huggingface_hub import hf_hub_download

    columns = DATA_SETS[POLQA].columns
    path = hf_hub_download(POLQA, POLQA_FILES[split], repo_type="dataset")
    with open(path, encoding="utf-8", newline="") as file:
        return Dataset.from_list([{name: row[name] for name in columns} for row in csv.DictReader(file)])
