"""SQL over the runs, by DuckDB in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qharness.errors import UsageError
from qharness.results.directory import NotARun, RunDirectory
from qharness.results.parts import result_schema, results_table, sample_schema


@dataclass(frozen=True)
class QueryResult:
    """Answer of a query: names of the columns, and the rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as mappings."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def find_runs(root: str | Path) -> list[RunDirectory]:
    """Open every run of a folder, finished or not, oldest first."""
    found = []
    for info in sorted(Path(root).glob("*/run.json")):
        try:
            found.append(RunDirectory.open(info.parent, unfinished=True))
        except NotARun:
            continue
    return found


def query(sql: str, runs: Sequence[RunDirectory]) -> QueryResult:
    """Run one SQL statement over the tables `samples`, `results` and `runs`.

    Args:
        sql: The statement, in DuckDB's dialect.
        runs: The runs whose rows the tables hold.

    Raises:
        UsageError: DuckDB does not understand the statement.
    """
    import duckdb
    import pyarrow as pa

    parts = [part for run in runs for part in run.parts()]
    rows = [row for run in runs for row in run.result_rows()]
    with duckdb.connect(":memory:") as connection:
        if parts:
            files = connection.read_parquet([str(part.path) for part in parts], union_by_name=True)
            files.create_view("samples")
        else:
            connection.register("samples", sample_schema().empty_table())
        connection.register("results", results_table(rows) if rows else result_schema().empty_table())
        about = [
            {
                "run_id": run.run_id,
                "path": str(run.path),
                "finished": run.is_finished,
                "created": run.info["created"],
                "configuration": json.dumps(run.info["configuration"], ensure_ascii=False),
            }
            for run in runs
        ]
        names = ("run_id", "path", "finished", "created", "configuration")
        schema = pa.schema([(name, pa.bool_() if name == "finished" else pa.string()) for name in names])
        connection.register("runs", pa.Table.from_pylist(about, schema=schema))
        try:
            cursor = connection.execute(sql)
            answer = cursor.fetchall()
        except duckdb.Error as error:
            first = str(error).strip().splitlines()[0]
            raise UsageError(f"The query failed: {first} The tables are samples, results and runs.") from error
        return QueryResult(tuple(column[0] for column in cursor.description or ()), tuple(answer))
