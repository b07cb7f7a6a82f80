"""The splits of one task's data set, read when they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from datasets import Dataset

from qharness.errors import MissingData
from qharness_tasks_pl.data import folder, hub
from qharness_tasks_pl.data.sets import DATA_SETS

SPLITS = ("train", "validation", "test")


class Splits(Mapping[str, Dataset]):
    """Splits by name.

    Args:
        task: Task that needs them, for messages.
        hub_id: Id of the data set.
        config: Its configuration on the hub, if it has several.
        source: `hub`, or a folder.
    """

    def __init__(self, task: str, hub_id: str, config: str | None, source: str) -> None:
        self.task, self.hub_id, self.config, self.source = task, hub_id, config, source
        self._read: dict[str, Dataset] = {}

    def __getitem__(self, split: str) -> Dataset:
        """Return a split.

        Raises:
            MissingData: The split, or a column that the task needs, cannot be had; names task and data set.
        """
        if split not in self._read:
            data = DATA_SETS[self.hub_id]
            where = f"Task {self.task} needs split {split} of {data.name}"
            try:
                docs = self._fetch(split)
            except MissingData as error:
                raise MissingData(f"{where}: {error}") from error
            if len(docs) == 0:
                raise MissingData(f"{where}, which has no documents; put some there.")
            missing = [name for name in data.columns if name not in docs.column_names]
            if missing:
                raise MissingData(f"{where} with column {', '.join(missing)}; it has {', '.join(docs.column_names)}.")
            self._read[split] = docs
        return self._read[split]

    def _fetch(self, split: str) -> Dataset:
        if self.source == "hub":
            return hub.read_split(self.hub_id, self.config, split)
        return folder.read_split(Path(self.source), DATA_SETS[self.hub_id].name, split)

    def __iter__(self) -> Iterator[str]:
        return iter(SPLITS)

    def __len__(self) -> int:
        return len(SPLITS)
