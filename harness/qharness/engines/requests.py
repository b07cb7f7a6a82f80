"""A list of requests on disk, for workers that answer parts of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qharness.engines.base import GenerationRequest, LikelihoodRequest
from qharness.engines.planned import RequestPath
from qharness.errors import CorruptArtifact
from qharness.results.files import write_atomically

_KEY = b"qharness"


@dataclass(frozen=True)
class RequestList:
    """What is asked of an engine.

    Attributes:
        path: Method that answers.
        requests: The requests.
        identity: Digest of the engine that planned them.
        plan: Digest of the plan, over requests and batches.
    """

    path: RequestPath
    requests: Sequence[Any]
    identity: str
    plan: str

    def write(self, path: Path) -> None:
        """Write the list as parquet, by temp file and rename."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        kind = _kind(self.path)
        rows = [request._asdict() for request in self.requests]
        about = {"path": self.path, "identity": self.identity, "plan": self.plan}
        table = pa.table({name: [row[name] for row in rows] for name in kind._fields})
        table = table.replace_schema_metadata({_KEY: json.dumps(about).encode()})
        write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))

    @classmethod
    def read(cls, path: Path) -> RequestList:
        """Read a list back.

        Raises:
            CorruptArtifact: The file is missing or damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(path).read()
            about = json.loads(table.schema.metadata[_KEY])
            kind = _kind(about["path"])
            requests = [kind(**{name: _frozen(value) for name, value in row.items()}) for row in table.to_pylist()]
            return cls(about["path"], requests, about["identity"], about["plan"])
        except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
            raise CorruptArtifact(
                f"The requests in '{path}' cannot be read ({type(error).__name__}). Continue the run with --resume."
            ) from error


def _kind(path: RequestPath) -> type[GenerationRequest] | type[LikelihoodRequest]:
    return GenerationRequest if path == "generate" else LikelihoodRequest


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
