"""The end of a run: comparison, verdicts, report; derived from the samples, so it can be done again at any time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qharness.records import ReportSection, ReportWriter, Suite

if TYPE_CHECKING:
    from qharness.host import Host
    from qharness.results.directory import RunDirectory
    from qharness.results.shape import Comparison


def compare_runs(runs: Sequence[RunDirectory], host: Host) -> Comparison:
    """Compare the configurations of runs on all suites that they name."""
    from qharness.results.comparison import compare

    names = dict.fromkeys(name for run in runs for name in run.info["configuration"]["suites"])
    return compare(runs, [host.get(Suite, name) for name in names])


def conclude_run(run: RunDirectory, host: Host) -> Path | None:
    """Store the verdicts of a run and write its report; None if no report format is installed."""
    from qharness.results.comparison import stored_verdicts

    comparison = compare_runs([run], host)
    run.write_comparison(comparison)
    run.write_verdicts(stored_verdicts(comparison))
    return _write(comparison, host, run.path / "report.html")


def write_reports(runs: Sequence[RunDirectory], host: Host, path: Path) -> Path:
    """Write one report of several runs.

    Raises:
        UnknownName: No HTML writer is installed.
    """
    host.get(ReportWriter, "html")
    written = _write(compare_runs(runs, host), host, path)
    assert written is not None
    return written


def _write(comparison: Comparison, host: Host, path: Path) -> Path | None:
    offer = host.offers(ReportWriter).get("html")
    if offer is None:
        return None
    writer: ReportWriter = offer.record
    sections = sorted(host.records(ReportSection), key=lambda section: (section.order, section.name))
    writer.write(comparison, path, sections)
    return path
