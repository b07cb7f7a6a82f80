"""The ablation matrix in the report and on the terminal."""

from __future__ import annotations

import copy

from rich.console import Console

from qharness.results.matrix import MatrixLine, matrix_finding
from qharness.results.tables import comparison_tables
from qharness.statistics.verdicts import RULES, rule_table
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
    assert "not measured" in document and "KL, nats a token" in document
    assert all(verdict["evidence"]["reason"] in document for verdict in comparison["verdicts"])
    assert "Multiple choice survives while generation does not in row" in document


def test_other_runs_have_no_such_section():
    assert "Ablation matrix" not in render_page(synthetic_comparison(), list(BUILTIN))


def line(row, verdict):
    return MatrixLine(row, "", row, verdict, "", {})


def test_the_finding_claims_no_more_than_was_decided():
    rows = [line("A", "baseline"), line("F", "healthy"), line("G", "collapsed")]
    assert matrix_finding(rows) == "In no row and at no dose does multiple choice survive while generation does not."
    unsure = matrix_finding([*rows, line("I2", "inconclusive")])
    assert unsure.startswith("In no row and at no dose that could be decided") and "Undecided: row I2." in unsure
    assert matrix_finding([rows[0], line("F", "inconclusive"), line("M", "not measured")]).startswith("Whether")
    assert "in rows I2, I4." in matrix_finding([*rows, line("I2", "dissociated"), line("I4", "cache_path_fault")])


def printed(comparison):
    console = Console(record=True, width=200)
    for part in comparison_tables(comparison, 200):
        console.print(part)
    return " ".join(console.export_text().split())


def test_the_terminal_shows_each_row_with_its_evidence():
    comparison = with_rows()
    text = printed(comparison)
    assert all(row["row"] in text for row in comparison["matrix"])
    reasons = [verdict["evidence"]["reason"] for verdict in comparison["verdicts"]]
    assert reasons and all(reason in text for reason in reasons)


def test_the_terminal_shows_the_rules_and_thresholds_of_the_verdicts():
    comparison = with_rows()
    comparison["rules"] = rule_table()
    text = printed(comparison)
    places = [text.index(f"{rule.name.replace('_', ' ')} {rule.condition[:20]}") for rule in RULES]
    assert places == sorted(places)
    assert "lower bound of its retention above 0.5" in text and "lower bounds of both retentions at least 0.9" in text
    assert all(f"`{name}`" not in text for rule in RULES for name in rule.thresholds)
