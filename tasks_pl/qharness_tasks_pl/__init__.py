"""polish22: the tasks, suites, scorers and data sources of the Open Polish LLM Leaderboard for lm-eval 0.4.13."""

from __future__ import annotations

from qharness_tasks_pl.loading import TASKS, load_tasks, task_manager
from qharness_tasks_pl.suites import SUITES

__all__ = ["SUITES", "TASKS", "load_tasks", "task_manager"]
