"""One finished task of one configuration: a parquet file with its samples, and its results in the file's metadata.

Samples and results travel in one file because a single rename then decides whether the task is finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qharness.errors import CorruptArtifact
from qharness.results.files import write_atomically
from qharness.results.schema import SCHEMA_VERSION, Cell, Result, Sample

if TYPE_CHECKING:
    import pyarrow as pa

_KEY = b"qharness"


class TaskKey(NamedTuple):
    """What tells the parts of one configuration apart."""

    evaluator: str
    task: str
    num_fewshot: int


@dataclass(frozen=True)
class Part:
    """A stored task: where it lies, whose it is, and its aggregated results."""

    path: Path
    run_id: str
    cell: Cell
    key: TaskKey
    results: tuple[Result, ...]


def sample_schema() -> pa.Schema:
    """Return the Arrow schema of sample rows."""
    import pyarrow as pa

    return pa.schema(
        [("run_id", pa.string()), *_columns(Cell), ("num_fewshot", pa.int64()), *_columns(Sample)],
    )


def result_schema() -> pa.Schema:
    """Return the Arrow schema of result rows."""
    import pyarrow as pa

    return pa.schema([("run_id", pa.string()), ("config", pa.string()), *_columns(Cell), *_columns(Result)])


def results_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return result rows as an Arrow table, also when there are none."""
    import pyarrow as pa

    return pa.Table.from_pylist([dict(row) for row in rows], schema=result_schema())


def _columns(record: type) -> list[tuple[str, pa.DataType]]:
    import pyarrow as pa

    types = {
        "str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "float | None": pa.float64(),
        "tuple[str, ...]": pa.list_(pa.string()), "tuple[float, ...]": pa.list_(pa.float64()),
    }  # fmt: skip
    return [(field.name, types[str(field.type)]) for field in fields(record)]


def write_part(
    path: Path, run_id: str, cell: Cell, key: TaskKey, samples: Sequence[Sample], results: Sequence[Result]
) -> None:
    """Write one task atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stamp = {"run_id": run_id, **asdict(cell), "num_fewshot": key.num_fewshot}
    schema = sample_schema()
    names = [f.name for f in fields(Sample)]
    columns: dict[str, list[Any]] = {name: [value] * len(samples) for name, value in stamp.items()}
    columns |= {name: [getattr(sample, name) for sample in samples] for name in names}
    about = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "cell": asdict(cell),
        "key": key._asdict(),
        "results": [asdict(result) for result in results],
    }
    metadata = {_KEY: json.dumps(about, ensure_ascii=False).encode()}
    table = pa.table(columns, schema=schema.with_metadata(metadata))
    write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def read_part(path: Path) -> Part:
    """Read a part's identity and results, not its samples.

    Raises:
        CorruptArtifact: The file is not one of ours or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = json.loads((pq.read_schema(path).metadata or {})[_KEY])
        cell = Cell(**{**about["cell"], "ablation": tuple(about["cell"]["ablation"])})
        return Part(
            path=path,
            run_id=about["run_id"],
            cell=cell,
            key=TaskKey(**about["key"]),
            results=tuple(Result(**result) for result in about["results"]),
        )
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise CorruptArtifact(
            f"The samples file '{path}' cannot be read ({type(error).__name__}). "
            "Delete it and continue its run with --resume."
        ) from error


def read_samples(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the sample rows of a part, all columns or the named ones."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).read(columns=list(columns) if columns else None)
