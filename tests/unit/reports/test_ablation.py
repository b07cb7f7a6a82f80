"""The ablation matrix in the report and on the terminal."""

from __future__ import annotations

import copy

from rich.console import Console

from qharness.results.tables import comparison_tables
from qharness_reports.page import render_page
from qharness_reports.sections import BUILTIN
from qharness_reports.testing import synthetic_comparison


def with_rows():
    comparison = copy.deepcopy(synthetic_comparison())
    configs = [row["id"] for row in comparison["configurations"]]
    comparison["matrix"] = [
        {"row": "A", "purpose": "the ceiling", "config": configs[0]},
        *({"row": f"dose r4@layers={n}", "purpose": "<part>", "config": c} for n, c in enumerate(configs[1:])),
        {"row": "M", "purpose": "a codebook", "config": "absent"},
    ]
    return comparison


def test_each_row_stands_in_the_report_with_its_verdict_and_a_finding():
    comparison = with_rows()
    document = render_page(comparison, list(BUILTIN))
    assert "Ablation matrix" in document and "&lt;part&gt;" in document
    for row in comparison["matrix"]:
        assert f">{row['row']}</th>" in document
    assert "not measured" in document
    assert "Multiple choice survives while generation does not in row" in document


def test_other_runs_have_no_such_section():
    assert "Ablation matrix" not in render_page(synthetic_comparison(), list(BUILTIN))


def test_the_terminal_shows_a_line_a_row():
    comparison = with_rows()
    console = Console(record=True, width=160)
    for part in comparison_tables(comparison, 160):
        console.print(part)
    text = console.export_text()
    assert all(row["row"] in text for row in comparison["matrix"])
