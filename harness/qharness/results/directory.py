"""The run directory: everything that one invocation measured.

Below `runs/<run_id>/` lie

- `run.json`: written first;
- `samples/<configuration>/<evaluator>/<task>/part-<shots>shot.parquet`: one writer each;
- `failures.json`, `artifacts.json`, `kernels.json`, `rows.json`, `verdicts.json`, `comparison.json`: written by the
  host process alone;
- `results.parquet`: all results, collected when the run ends;
- `done`: written last.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qharness.errors import MissingData, Unwritable, UsageError
from qharness.evaluation.base import TaskFailure
from qharness.results.files import TEMPORARY, folder_name, read_json, write_atomically, write_json
from qharness.results.identity import config_id
from qharness.results.parts import Part, TaskKey, read_part, results_table, write_part
from qharness.results.schema import SCHEMA_VERSION, Cell, Result, Sample, Verdict


class NotARun(UsageError):
    """A path holds no run, or one that this version cannot read."""


class UnfinishedRun(UsageError):
    """A run has no `done`: it still goes on or was stopped."""


class RunDirectory:
    """One run on disk; made by `create` or `open`.

    Attributes:
        path: The directory.
        info: Content of `run.json`.
    """

    def __init__(self, path: Path, info: Mapping[str, Any]) -> None:
        self.path = path
        self.info = dict(info)

    @classmethod
    def create(
        cls,
        root: str | Path,
        configuration: Mapping[str, Any],
        *,
        environment: Mapping[str, Any] | None = None,
        digests: Mapping[str, str] | None = None,
        notice: str = "",
        common: Mapping[str, Any] | None = None,
    ) -> RunDirectory:
        """Start a run: make its directory and write `run.json`.

        Args:
            root: Folder of all runs; created if absent.
            configuration: The invocation's settings as plain data.
            environment: Versions and hardware, see `qharness.results.environment`.
            digests: Digests of the model, the data, and whatever else was read.
            notice: Sentence that every place showing the scores must carry.
            common: `Cell` fields that all configurations share (engine, kernels, dtype, seed,
                calibration); they keep the names of configurations short.

        Raises:
            Unwritable: The folder cannot be written.
        """
        now = datetime.now(UTC)
        run_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        info = {
            "schema_version": SCHEMA_VERSION,
            "run_id": run_id,
            "created": now.isoformat(timespec="seconds"),
            "notice": notice,
            "configuration": dict(configuration),
            "common": dict(common or {}),
            "environment": dict(environment or {}),
            "digests": dict(digests or {}),
        }
        path = Path(root) / run_id
        try:
            path.mkdir(parents=True)
            write_json(path / "run.json", info)
        except OSError as error:
            raise Unwritable(
                f"The runs folder '{root}' cannot be written ({error.strerror}). Name another one with --runs DIR."
            ) from error
        return cls(path, info)

    @classmethod
    def open(cls, path: str | Path, *, unfinished: bool = False) -> RunDirectory:
        """Open a run.

        Args:
            path: Its directory.
            unfinished: Whether a run without `done` is welcome, to continue it or to look at what it has.

        Raises:
            NotARun: There is no run, or its schema is newer than this version's.
            UnfinishedRun: It is unfinished and that is not welcome.
        """
        path = Path(path)
        if not path.is_dir():
            raise NotARun(f"There is no run '{path}'.{_known(path.parent)}")
        try:
            info = read_json(path / "run.json")
            version = info["schema_version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotARun(f"'{path}' is not a run of qharness: it has no readable run.json.{_known(path)}") from error
        if version > SCHEMA_VERSION:
            raise NotARun(
                f"The run '{path}' has schema {version}, this qharness reads up to {SCHEMA_VERSION}. Upgrade qharness."
            )
        run = cls(path, info)
        if not unfinished and not run.is_finished:
            raise UnfinishedRun(
                f"The run '{path}' is unfinished: it was stopped or is still going on, with {len(run.parts())} tasks "
                f"stored. Continue it with: qharness run --resume {path}"
            )
        return run

    @property
    def run_id(self) -> str:
        """Name of the run; names sort by time."""
        return str(self.info["run_id"])

    @property
    def notice(self) -> str:
        """Sentence that every place showing the scores must carry, or empty."""
        return str(self.info.get("notice", ""))

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end (some cells may have failed)."""
        return (self.path / "done").exists()

    def config_id(self, cell: Cell) -> str:
        """Name of a configuration in this run."""
        return config_id(cell, self.info.get("common"))

    def write_task(
        self,
        cell: Cell,
        evaluator: str,
        task: str,
        samples: Sequence[Sample],
        results: Sequence[Result],
        num_fewshot: int | None = None,
    ) -> None:
        """Store one finished task; replaces what was stored of it and clears its failure.

        Args:
            cell: The configuration.
            evaluator: Evaluator that measured it.
            task: Task or prompt set.
            samples: Its documents.
            results: Its aggregated scores.
            num_fewshot: Shots; taken from the results if None.
        """
        shots = num_fewshot if num_fewshot is not None else (results[0].num_fewshot if results else 0)
        key = TaskKey(evaluator, task, shots)
        folder = self.path / "samples" / folder_name(self.config_id(cell))
        path = folder / folder_name(evaluator) / folder_name(task) / f"part-{shots}shot.parquet"
        write_part(path, self.run_id, cell, key, samples, results)
        failures = self.failures()
        left = [f for f in failures if (f["config"], f["evaluator"], f["task"]) != (self.config_id(cell), *key[:2])]
        if len(left) < len(failures):
            write_json(self.path / "failures.json", left)

    def parts(self) -> list[Part]:
        """Return every stored task, sorted by configuration, evaluator and task."""
        return [read_part(path) for path in self._part_paths()]

    def finished_tasks(self, cell: Cell) -> set[TaskKey]:
        """Return what is already stored for exactly this configuration, digest included."""
        folder = self.path / "samples" / folder_name(self.config_id(cell))
        parts = (read_part(path) for path in _visible(folder, "*/*/part-*.parquet"))
        return {part.key for part in parts if part.cell == cell}

    def record_failure(self, cell: Cell, failure: TaskFailure, **details: Any) -> None:
        """Store why a task of a configuration could not be measured.

        Args:
            cell: The configuration.
            failure: Evaluator, task and reason; an empty task stands for the whole configuration.
            details: Plain data for people who look deeper (plugin version, hook, layer, traceback).
        """
        key = {"config": self.config_id(cell), "evaluator": failure.evaluator, "task": failure.task}
        identity = {**asdict(cell), "ablation": list(cell.ablation)}
        self._upsert("failures.json", key, {**key, "reason": failure.reason, "cell": identity, "details": details})

    def failures(self) -> list[dict[str, Any]]:
        """Return the failures: config, evaluator, task, reason, cell, details."""
        return list(read_json(self.path / "failures.json", []))

    def write_artifact(self, artifact: Mapping[str, Any]) -> None:
        """Store the description of an artifact of this run; `plugin` and `path` identify it."""
        self._upsert("artifacts.json", {name: artifact[name] for name in ("plugin", "path")}, dict(artifact))

    def artifacts(self) -> list[dict[str, Any]]:
        """Return the artifacts: plugin, path, nominal_bits, stored_bpw, model_bpw, size_bytes and further facts."""
        return list(read_json(self.path / "artifacts.json", []))

    def write_kernels(self, cell: Cell, kernels: Sequence[Mapping[str, Any]]) -> None:
        """Store what served the modules of a configuration, if it has modules that kernels may serve."""
        if kernels:
            key = {"config": self.config_id(cell)}
            self._upsert("kernels.json", key, {**key, "served": [dict(row) for row in kernels]})

    def kernels(self) -> list[dict[str, Any]]:
        """Return what served the modules: config, modules, part, op, kernel, count, reason."""
        stored = read_json(self.path / "kernels.json", [])
        return [{"config": row["config"], **served} for row in stored for served in row["served"]]

    def write_rows(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Store the rows of an ablation matrix: row, purpose, config."""
        write_json(self.path / "rows.json", [dict(row) for row in rows])

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of the ablation matrix in its order; empty for another run."""
        return list(read_json(self.path / "rows.json", []))

    def write_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Store the verdicts, in place of earlier ones."""
        write_json(self.path / "verdicts.json", [asdict(verdict) for verdict in verdicts])

    def verdicts(self) -> list[dict[str, Any]]:
        """Return the stored verdicts: plugin, ablation, engine, kv_bits, verdict, evidence."""
        return list(read_json(self.path / "verdicts.json", []))

    def write_comparison(self, comparison: Mapping[str, Any]) -> None:
        """Store the comparison derived from the samples, for programs that only show it."""
        write_json(self.path / "comparison.json", comparison)

    def comparison(self) -> dict[str, Any] | None:
        """Return the stored comparison, see `qharness.results.shape`, or None if there is none yet."""
        found = read_json(self.path / "comparison.json")
        return None if found is None else dict(found)

    def result_rows(self) -> list[dict[str, Any]]:
        """Return one row for each result: run_id, `config`, the fields of `Cell` and of `Result`."""
        return [
            {"run_id": part.run_id, "config": self.config_id(part.cell), **asdict(part.cell), **asdict(result)}
            for part in self.parts()
            for result in part.results
        ]

    def finish(self) -> None:
        """Collect `results.parquet`, then write `done`.

        Raises:
            MissingData: Nothing was measured and nothing failed.
        """
        if not self._part_paths() and not self.failures():
            raise MissingData(f"The run '{self.path}' measured nothing. Name a suite with tasks, or drop --limit 0.")
        rows = self.result_rows()
        write_atomically(self.path / "results.parquet", lambda temporary: _write_results(temporary, rows))
        write_json(self.path / "done", {"finished": datetime.now(UTC).isoformat(timespec="seconds")})

    def reopen(self) -> None:
        """Prepare an existing run for more work.

        Drops `done`, what was derived, leftovers of killed writers, and the failures, all of which are tried again.
        """
        for name in ("done", "results.parquet", "verdicts.json", "comparison.json", "failures.json"):
            (self.path / name).unlink(missing_ok=True)
        for leftover in self.path.rglob(f"{TEMPORARY}*"):
            leftover.unlink()

    def _part_paths(self) -> list[Path]:
        return _visible(self.path / "samples", "*/*/*/part-*.parquet")

    def _upsert(self, name: str, key: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        rows = read_json(self.path / name, [])
        others = [old for old in rows if any(old.get(field) != value for field, value in key.items())]
        write_json(self.path / name, [*others, dict(row)])


def _visible(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _known(root: Path) -> str:
    runs = sorted(path.parent.name for path in root.glob("*/run.json"))
    return f" The latest run in '{root}' is '{runs[-1]}'." if runs else ""


def _write_results(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow.parquet as pq

    pq.write_table(results_table(rows), path, compression="zstd")
