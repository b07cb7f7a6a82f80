"""Reports of qharness: one self-contained HTML file from the plain data of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qharness.records import ReportSection

__all__ = ["render", "write_report"]


def render(comparison: Mapping[str, Any], sections: Sequence[ReportSection] = ()) -> str:
    """Return the report as one HTML document that makes no request.

    Args:
        comparison: What `qharness.results.comparison.compare` returns.
        sections: Sections beside the built-in ones, as `Host.records(ReportSection)` gives them. One with the
            name of a built-in section takes its place.

    Raises:
        PluginError: A section failed; the message names it.
    """
    from qharness_reports.page import render_page

    return render_page(comparison, sections)


def write_report(comparison: Mapping[str, Any], path: Path, sections: Sequence[ReportSection] = ()) -> None:
    """Write the report to `path` by a temporary file and a rename, so that no half-written report is ever seen.

    Raises:
        PluginError: A section failed; nothing is written.
        Unwritable: The folder cannot be written.
    """
    from qharness_reports.page import write_page

    write_page(comparison, path, sections)
