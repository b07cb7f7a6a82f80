"""Task objects of lm-eval from the YAML files of this package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager

TASKS = Path(__file__).parent / "tasks"
"""Folder of the YAML files, for `TaskManager(include_path=...)` or `lm-eval run --include_path`."""


def task_manager(data: str | Path = "hub") -> TaskManager:
    """Return a task manager that knows the tasks of this package and no others.

    Args:
        data: `hub`, or a folder with one sub-folder per data set, named by the last part of its hub id, with one
            .jsonl or .parquet file per split.
    """
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=TASKS, include_defaults=False, metadata={"data": str(data)})


def load_tasks(names: Sequence[str], data: str | Path = "hub") -> dict[str, Task]:
    """Return lm-eval task objects by name, in the order asked for.

    One task without data fails the call: ask for tasks one by one where the others shall go on.

    Args:
        names: lm-eval task names.
        data: As in `task_manager`.

    Raises:
        UnknownName: There is no such task.
        MissingData: A task's data set, evaluated split or column cannot be had. A missing few-shot split is
            reported by the task itself, when examples are asked for.
    """
    from qharness.errors import UnknownName

    manager = task_manager(data)
    for name in names:
        if name not in manager.all_subtasks:
            raise UnknownName("task", name, manager.all_subtasks)
    loaded: dict[str, Task] = manager.load(list(names))["tasks"]
    return loaded
