"""Entry point `polish`: offers the suites."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.records import Suite
from qharness_tasks_pl.suites import SUITES


@hookimpl
def qharness_suites() -> Iterable[Suite]:
    """Offer polish22 and its kin."""
    return SUITES
