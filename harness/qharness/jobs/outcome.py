"""How a job ended; failures are data, so that they cross process borders and stay inside their cell."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from qharness.errors import QharnessError

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How a job ended.

    Attributes:
        value: What it returned; None if it failed.
        seconds: How long it took.
        reason: One sentence why it failed, or empty.
        details: What is stored for people who look deeper (traceback).
    """

    value: T | None
    seconds: float
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def guarded(work: Callable[[], T]) -> Outcome[T]:
    """Do the work; an exception becomes a failed outcome."""
    started = time.monotonic()
    try:
        value = work()
    except Exception as error:
        reason = str(error) if isinstance(error, QharnessError) else f"{type(error).__name__}: {error}"
        return Outcome(None, time.monotonic() - started, reason, {"traceback": traceback.format_exc()})
    return Outcome(value, time.monotonic() - started)
