"""Progress of a run: bars with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining


class Reporter:
    """Shows two levels: the steps of the whole run, and the work inside the current step.

    Args:
        total: Number of steps of the run; the ETA of the whole counts them as equal.
        quiet: Print nothing (`--json`).
    """

    def __init__(self, total: int, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.total = total
        self.done = 0
        self.started = time.monotonic()
        self.bars: Progress | None = None
        self.run_bar: TaskID | None = None
        self.step_bar: TaskID | None = None
        if sys.stderr.isatty() and not quiet:
            columns = (TextColumn("{task.description:<58.58}"), BarColumn(24), MofNCompleteColumn())
            self.bars = Progress(*columns, TimeElapsedColumn(), Remaining(), console=self.console, transient=True)

    def __enter__(self) -> Self:
        """Start the display."""
        if self.bars:
            self.bars.start()
            self.run_bar = self.bars.add_task("run", total=self.total)
            self.step_bar = self.bars.add_task("", total=None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Stop the display."""
        if self.bars:
            self.bars.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def update(self, done: int, total: int, label: str) -> None:
        """Show progress inside the current step."""
        if self.bars and self.step_bar is not None:
            self.bars.update(self.step_bar, description=label, completed=done, total=total or None)

    def step(self, label: str, seconds: float) -> None:
        """Count a finished step."""
        self.done += 1
        if self.bars and self.run_bar is not None:
            self.bars.update(self.run_bar, completed=self.done, total=self.total)
            return
        elapsed = time.monotonic() - self.started
        left = elapsed / self.done * max(0, self.total - self.done)
        self.say(f"[{self.done}/{self.total}] {label} ({seconds:.1f} s, about {left:.0f} s left)")
