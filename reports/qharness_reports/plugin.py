"""The entry point `reports`: the built-in sections come through the same hook as anyone else's."""

from __future__ import annotations

from collections.abc import Iterable

from qharness import hookimpl
from qharness.records import ReportSection, ReportWriter


@hookimpl
def qharness_report_sections() -> Iterable[ReportSection]:
    """Offer the built-in sections."""
    from qharness_reports.sections import BUILTIN

    return BUILTIN


@hookimpl
def qharness_report_writers() -> Iterable[ReportWriter]:
    """Offer the HTML report."""
    from qharness_reports import write_report

    yield ReportWriter("html", "One offline HTML file", write_report)
