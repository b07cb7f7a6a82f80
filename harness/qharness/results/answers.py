"""A few answers side by side: what the models wrote on the same documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qharness.records import TaskSpec
from qharness.results.measured import Documents, Measured
from qharness.results.shape import Generation, Response
from qharness.results.task_cells import right
from qharness.results.task_rows import Protocol

Key = tuple[int, str]


def answers(
    configurations: Sequence[Measured], tasks: Sequence[TaskSpec], protocol: Protocol | None, per_task: int = 3
) -> list[Generation]:
    """Return a few documents of each generative task, those that the most configurations lost first."""
    chosen: list[Generation] = []
    for spec in tasks:
        if spec.kind == "gen":
            found = {}
            for measured in configurations:
                for score in measured.of("gen", spec.name):
                    identity = score.identity
                    fits = protocol is None or protocol.holds(identity)
                    if fits and (identity.metric, identity.filter) == (spec.metric, spec.filter):
                        found[measured.id] = score.documents
            chosen += _of_task(spec, found, [m.id for m in configurations if m.is_baseline], per_task)
    return chosen


def _of_task(
    spec: TaskSpec, found: Mapping[str, Documents], baselines: Sequence[str], per_task: int
) -> list[Generation]:
    tables = {name: _table(documents) for name, documents in found.items()}
    reference = next((name for name in baselines if name in tables), next(iter(tables), None))
    if reference is None:
        return []
    keys = list(tables[reference])
    keys.sort(key=lambda key: (-_lost(key, tables, reference), -_changed(key, tables, reference)))
    golds = {_key(found[reference], i): str(found[reference].gold[i]) for i in range(len(found[reference]))}
    return [
        {
            "task": spec.name,
            "doc_id": key[0],
            "gold": golds[key],
            "responses": {name: table[key] for name, table in tables.items() if key in table},
        }
        for key in keys[:per_task]
    ]


def _table(documents: Documents) -> dict[Key, Response]:
    scored = right(documents)
    values = documents.value if scored is None else scored
    return {
        _key(documents, i): {
            "text": str(documents.response[i]),
            "prediction": str(documents.prediction[i]),
            "value": float(values[i]) if np.isfinite(values[i]) else None,
        }
        for i in range(len(documents))
    }


def _key(documents: Documents, i: int) -> Key:
    return int(documents.doc_id[i]), str(documents.prompt_hash[i])


def _lost(key: Key, tables: Mapping[str, Mapping[Key, Response]], reference: str) -> int:
    before = tables[reference][key]["value"] or 0.0
    others = [table[key]["value"] or 0.0 for name, table in tables.items() if name != reference and key in table]
    return sum(before > value for value in others)


def _changed(key: Key, tables: Mapping[str, Mapping[Key, Response]], reference: str) -> int:
    before = tables[reference][key]["text"]
    return sum(table[key]["text"] != before for table in tables.values() if key in table)
