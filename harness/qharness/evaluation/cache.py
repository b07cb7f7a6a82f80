"""The request cache: answers of one model and engine, kept in parquet parts so that a killed run loses one batch."""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qharness.results.files import write_atomically, write_json

log = logging.getLogger(__name__)


def request_key(path: str, *settings: Any) -> str:
    """Return the key of a request: SHA-256 over the evaluator path and everything that was asked.

    Args:
        path: How the answer is computed: `prefill`, `decode-16`, `generate`.
        settings: Tokens and settings, JSON-able.
    """
    return hashlib.sha256(json.dumps([path, *settings], separators=(",", ":")).encode()).hexdigest()


def identity_digest(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of an engine's identity."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


class RequestCache:
    """Answers by request key, for one identity.

    Args:
        folder: Folder of all caches; this one uses the sub-folder named by the identity's digest.
        identity: Everything about model and engine that can change an answer.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder) / identity_digest(identity)
        self._identity = dict(identity)
        self._answers: dict[str, Any] = {}
        self._known: set[str] = set()
        self.refresh()

    def __len__(self) -> int:
        return len(self._answers)

    def refresh(self) -> None:
        """Read what other processes have stored in the meantime."""
        for part in sorted(self.folder.glob("part-*.parquet")):
            if part.name not in self._known:
                self._known.add(part.name)
                self._answers.update(read_part(part))

    def get(self, key: str) -> Sequence[Any] | None:
        """Return the stored fields of an answer, or None."""
        fields: Sequence[Any] | None = self._answers.get(key)
        return fields

    def put(self, answers: Mapping[str, Sequence[Any]]) -> None:
        """Store the answers of one batch as a part of their own, atomically."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not (self.folder / "identity.json").exists():
            write_json(self.folder / "identity.json", self._identity)
        table = pa.table({"key": list(answers), "answer": [json.dumps(list(fields)) for fields in answers.values()]})
        name = f"part-{uuid.uuid4().hex}.parquet"
        write_atomically(self.folder / name, lambda path: pq.write_table(table, path))
        self._known.add(name)
        self._answers.update(answers)


def read_part(path: Path) -> dict[str, Any]:
    """Return the answers of a part; a damaged one counts as empty, as its requests can be asked again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(path, partitioning=None).to_pydict()
        return {key: json.loads(answer) for key, answer in zip(columns["key"], columns["answer"], strict=True)}
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        log.warning("Ignoring the damaged cache part %s: %s", path, error)
        return {}
