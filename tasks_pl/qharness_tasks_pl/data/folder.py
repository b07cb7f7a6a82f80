"""Splits read from a folder: DIR/<data set>/<split>.jsonl or .parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets import Dataset

from qharness.errors import MissingData

SUFFIXES = (".jsonl", ".parquet")


def read_split(folder: Path, data_set: str, split: str) -> Dataset:
    """Read one split into memory.

    Args:
        folder: The folder given as `--data`.
        data_set: Name of the data set's sub-folder.
        split: `train`, `validation` or `test`.

    Raises:
        MissingData: The folder or the file is not there, or cannot be read.
    """
    if not folder.is_dir():
        raise MissingData(f"there is no folder {folder}; give an existing one as --data.")
    for suffix in SUFFIXES:
        path = folder / data_set / (split + suffix)
        if path.is_file():
            return _read_jsonl(path) if suffix == ".jsonl" else _read_parquet(path)
    found = sorted(p.stem for p in (folder / data_set).glob("*") if p.suffix in SUFFIXES)
    there = f"{folder / data_set} has only {', '.join(found)}" if found else f"{folder / data_set} has no data files"
    raise MissingData(f"{there}; put {split}.jsonl or {split}.parquet there.")


def _read_jsonl(path: Path) -> Dataset:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            try:
                rows.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise MissingData(f"line {number} of {path} is no JSON object ({error}); mend it.") from error
    try:
        return Dataset.from_list(rows)
    except (ValueError, TypeError) as error:
        raise MissingData(f"the rows of {path} differ in type ({error}); give a column one type.") from error


def _read_parquet(path: Path) -> Dataset:
    import pyarrow.parquet as pq

    try:
        return Dataset(pq.read_table(path))
    except (ValueError, OSError) as error:
        raise MissingData(f"{path} is no readable parquet file ({error}); replace it.") from error
