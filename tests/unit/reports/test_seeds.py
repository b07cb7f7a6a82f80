"""Several quantizations of one method, pooled, in the report and on the terminal."""

from __future__ import annotations

import copy

from qharness.results.tables import seeds_line
from qharness_reports.page import render_page
from qharness_reports.sections import BUILTIN
from qharness_reports.testing import synthetic_comparison

ROW = {
    "configs": ["spin", "spin+seed1"], "plugin": "spin", "seeds": [0, 1], "r_mc": [0.61, 0.42, 0.83],
    "r_gen": [0.5, 0.25, 0.75], "index": None, "verdict": "uniform_damage", "reason": "Damaged <evenly>.",
}  # fmt: skip


def test_the_report_shows_pooled_intervals():
    comparison = copy.deepcopy(synthetic_comparison())
    assert "variance between quantizations" not in render_page(comparison, list(BUILTIN))
    comparison["seeds"] = [ROW]
    document = render_page(comparison, list(BUILTIN))
    assert "variance between quantizations" in document
    assert "0.61 [0.42, 0.83]" in document and "0.50 [0.25, 0.75]" in document
    assert "Damaged &lt;evenly&gt;." in document and ">0, 1</td>" in document


def test_the_terminal_shows_what_is_known():
    line = seeds_line(ROW)
    assert "r MC 0.61 [0.42, 0.83], r GEN 0.50 [0.25, 0.75], variance" in line and "index" not in line
    assert "uniform damage. Damaged" in line
