"""Progress of a run: bars with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from qharness.estimation.forecast import Forecast


class Reporter:
    """Shows two levels: the steps of the whole run, and the work inside the current step.

    Args:
        total: Number of steps of the run; without a forecast they count as equal.
        quiet: Print nothing (`--json`).

    Attributes:
        forecast: Tells the remaining time from tokens and measured rates, once they are known.
    """

    def __init__(self, total: int, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.total = total
        self.done = 0
        self.started = time.monotonic()
        self.forecast: Forecast | None = None
        self.bars: Progress | None = None
        self.run_bar: TaskID | None = None
        self.step_bar: TaskID | None = None
        if sys.stderr.isatty() and not quiet:
            columns = (TextColumn("{task.description:<58.58}"), BarColumn(24), MofNCompleteColumn())
            self.bars = Progress(*columns, TimeElapsedColumn(), _Left(self), console=self.console, transient=True)

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
        self.say(f"[{self.done}/{self.total}] {label} ({seconds:.1f} s, about {self.left():.0f} s left)")

    def left(self) -> float:
        """Return the remaining seconds of the whole run."""
        if self.forecast is not None and self.forecast.is_ready:
            return self.forecast.left()
        elapsed = time.monotonic() - self.started
        return elapsed / max(self.done, 1) * max(0, self.total - self.done)


class _Left(ProgressColumn):
    """Remaining time of the whole run, beside its bar."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def render(self, task: Task) -> Text:
        reporter = self._reporter
        if task.id != reporter.run_bar or not reporter.done:
            return Text("")
        return Text(f"{spoken(reporter.left())} left", style="progress.remaining")


def spoken(seconds: float) -> str:
    """Return a duration for people: `12 s`, `3 min 20 s`, `7 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
