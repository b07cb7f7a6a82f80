"""The built-in sections, as records like everyone else's. A section that has nothing to say returns ''."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qharness.records import ReportSection
from qharness_reports.figures.bars import draw_bars
from qharness_reports.figures.dumbbell import axis_end, draw_dumbbell
from qharness_reports.figures.plane import draw_plane
from qharness_reports.figures.storage import draw_storage
from qharness_reports.formats import decimal
from qharness_reports.templating import fill
from qharness_reports.views.ablation import ablation_finding, ablation_rows
from qharness_reports.views.averages import average_rows, bar_rows
from qharness_reports.views.configurations import configurations
from qharness_reports.views.provenance import fact_groups, failure_rows, kernel_rows, rule_table
from qharness_reports.views.ranking import MATCH, bits_classes
from qharness_reports.views.retention import plane_points, retention_panels
from qharness_reports.views.seeds import seeds_rows
from qharness_reports.views.storage import artifact_rows, storage_points
from qharness_reports.views.tasks import matrix, pair_tables
from qharness_reports.views.texts import answer_tasks, free_metrics, free_rows
from qharness_reports.views.verdicts import cards

Comparison = Mapping[str, Any]


def render_verdicts(comparison: Comparison) -> str:
    """Return a card for each configuration, and what several quantizations of one method say together."""
    return fill("verdicts.html.j2", cards=cards(comparison), seeds=seeds_rows(comparison))


def render_ablation(comparison: Comparison) -> str:
    """Return the ablation matrix of a method, if the run has one."""
    rows = ablation_rows(comparison)
    return fill("ablation.html.j2", rows=rows, finding=ablation_finding(comparison)) if rows else ""


def render_retention(comparison: Comparison) -> str:
    """Return the dissociation plane and the retention of every data set."""
    panels, points = retention_panels(comparison), plane_points(comparison)
    if not panels and not points:
        return ""
    end = axis_end([row for panel in panels for row in panel.rows])
    drawn = [(panel.config, draw_dumbbell(panel.rows, panel.config.label, end)) for panel in panels]
    return fill("retention.html.j2", plane=draw_plane(points) if points else "", panels=drawn)


def render_ranking(comparison: Comparison) -> str:
    """Return the ranking at matched stored bits, where there is more than one method to rank."""
    classes = bits_classes(comparison)
    if sum(len(group.rows) for group in classes) < 2:
        return ""
    return fill("ranking.html.j2", classes=classes, match=decimal(MATCH, 2))


def render_averages(comparison: Comparison) -> str:
    """Return the normalized averages."""
    rows = average_rows(comparison)
    return fill("averages.html.j2", rows=rows, picture=draw_bars(bar_rows(comparison))) if rows else ""


def render_pairs(comparison: Comparison) -> str:
    """Return multiple choice beside generation, data set by data set."""
    tables = pair_tables(comparison)
    return fill("pairs.html.j2", tables=tables) if tables and comparison["tasks"] else ""


def render_matrix(comparison: Comparison) -> str:
    """Return every task under every configuration."""
    rows, further = matrix(comparison), matrix(comparison, "other_metrics")
    return fill("matrix.html.j2", rows=rows, further=further, configs=configurations(comparison)) if rows else ""


def render_free(comparison: Comparison) -> str:
    """Return free generation side by side."""
    rows = free_rows(comparison)
    configs, metrics = free_metrics(comparison)
    return fill("free.html.j2", rows=rows, configs=configs, metrics=metrics) if rows or metrics else ""


def render_answers(comparison: Comparison) -> str:
    """Return answers to tasks side by side, flips first."""
    tasks = answer_tasks(comparison)
    return fill("answers.html.j2", tasks=tasks) if tasks else ""


def render_storage(comparison: Comparison) -> str:
    """Return the stored bits."""
    rows, points = artifact_rows(comparison), storage_points(comparison)
    return fill("storage.html.j2", rows=rows, picture=draw_storage(points) if points else "") if rows else ""


def render_failures(comparison: Comparison) -> str:
    """Return what could not be measured or compared."""
    rows, warnings = failure_rows(comparison), comparison.get("warnings", ())
    return fill("failures.html.j2", rows=rows, warnings=warnings) if rows or warnings else ""


def render_method(comparison: Comparison) -> str:
    """Return the rules of the verdicts and the reading aid."""
    return fill("method.html.j2", rules=rule_table(comparison))


def render_run(comparison: Comparison) -> str:
    """Return the configuration, what served its modules, and the environment."""
    served, groups = kernel_rows(comparison), fact_groups(comparison)
    return fill("run.html.j2", configs=configurations(comparison), kernels=served, groups=groups)


BUILTIN = (
    ReportSection("verdicts", "Verdicts", render_verdicts, 0),
    ReportSection("ablation", "Ablation matrix", render_ablation, 5),
    ReportSection("retention", "What was kept", render_retention, 10),
    ReportSection("ranking", "Ranking at matched stored bits", render_ranking, 15),
    ReportSection("pairs", "Task by task", render_pairs, 20),
    ReportSection("averages", "Averages", render_averages, 30),
    ReportSection("matrix", "All scores", render_matrix, 40),
    ReportSection("free", "Free generation", render_free, 50),
    ReportSection("answers", "Answers to tasks", render_answers, 60),
    ReportSection("storage", "Stored bits", render_storage, 70),
    ReportSection("failures", "Not measured", render_failures, 80),
    ReportSection("method", "How to read this", render_method, 90),
    ReportSection("run", "Run and environment", render_run, 100),
)
