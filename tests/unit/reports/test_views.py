"""View models: what is shown follows from the comparison."""

from __future__ import annotations

import copy

import pytest

from qharness_reports.formats import decimal, interval, plain, points, size
from qharness_reports.testing import synthetic_comparison
from qharness_reports.views.configurations import configurations
from qharness_reports.views.ranking import bits_classes
from qharness_reports.views.retention import plane_points, retention_panels
from qharness_reports.views.storage import artifact_of, storage_points
from qharness_reports.views.tasks import cell_view, matrix, pair_tables, pair_tasks
from qharness_reports.views.texts import answer_tasks, mark_repeats
from qharness_reports.views.verdicts import cards, evidence_sentence, headline


@pytest.fixture
def comparison():
    return synthetic_comparison()


def test_numbers_have_true_minus_signs_and_no_negative_zero():
    assert decimal(-0.04) == "0.0"
    assert decimal(-1.25, 2) == "−1.25"
    assert points(0.0) == "0.0" and points(0.031) == "+3.1" and points(-0.5, 0) == "−50"
    assert interval(-0.076, 0.039, digits=1) == "[−7.6, 3.9]" and interval(None, 1.0) == ""
    assert [size(n) for n in (12, 1_500, 5_340_000, 2.5e9)] == ["12 B", "1.50 kB", "5.34 MB", "2.50 GB"]
    assert plain({"estimate": 0.5, "low": -0.1, "high": 1.0}) == "0.50 [−0.10, 1.00]"


def test_baseline_comes_first_and_is_number_zero(comparison):
    comparison["configurations"].reverse()
    first = configurations(comparison)[0]
    assert first.is_baseline and first.mark == "0"
    assert [config.id for config in configurations(comparison)][1:] == ["rtn", "vptq", "spin-r4", "spin", "quip"]


def test_pairs_put_the_leaderboard_and_the_text_answer_beside_multiple_choice(comparison):
    groups = pair_tasks(comparison["tasks"])
    tags = next(group for group in groups if group.label == "8tags")
    assert (tags.mc["task"], tags.gen["task"], tags.text["task"]) == (
        "polish_8tags_multiple_choice", "polish_8tags_regex", "polish_8tags_regex_text",
    )  # fmt: skip
    alone = [group.label for group in groups if not (group.mc and group.gen)]
    assert alone == ["polqa_reranking", "polqa_open_book", "polqa_closed_book", "poquad_open_book"]
    shown = [task["task"] for group in groups for task in (group.mc, group.gen, group.text) if task]
    assert sorted(shown) == sorted(task["task"] for task in comparison["tasks"])


def test_a_sibling_named_by_one_side_only_is_found(comparison):
    for task in comparison["tasks"]:
        if task["kind"] == "mc":
            task["sibling"] = None
    assert all(group.gen for group in pair_tasks(comparison["tasks"]) if group.label in ("8tags", "dyk", "psc"))


def test_rows_of_another_protocol_pair_among_themselves(comparison):
    zero_shot = [
        task | {"num_fewshot": 0, "is_main": False, "short": f"{task['short']} (0-shot)"}
        for task in comparison["tasks"]
        if task["short"] in ("8tags_mc", "8tags_g")
    ]
    groups = [group for group in pair_tasks([*comparison["tasks"], *zero_shot]) if group.mc and "8tags" in group.label]
    assert [(g.mc["num_fewshot"], g.gen["num_fewshot"], bool(g.text)) for g in groups] == [(5, 5, True), (0, 0, False)]


def test_every_task_and_metric_is_in_the_matrix(comparison):
    rows = [(row.head.name, row.head.metric) for row in (*matrix(comparison), *matrix(comparison, "other_metrics"))]
    assert len(rows) == len(set(rows)) == len(comparison["tasks"]) + len(comparison["other_metrics"])


CELL = {
    "value": 0.6,
    "delta": -0.2,
    "low": -0.3,
    "high": -0.1,
    "p_holm": 0.001,
    "mde": 0.1,
    "invalid_rate": 0.25,
    "answer_token": 1.5,
    "flips": 0.12,
    "no_evidence": False,
    "failed": None,
}


def test_only_a_significant_loss_is_tinted():
    lost = cell_view(CELL, "gen")
    assert (lost.score, lost.delta, lost.bounds, lost.tone) == ("60.0", "−20.0", "[−30, −10]", "loss-2")
    assert [sign for sign, _ in lost.marks] == ["*"]
    unclear = cell_view(CELL | {"p_holm": 0.2}, "gen")
    assert unclear.tone == "same" and not unclear.is_significant
    assert unclear.marks[0][0] == "≈" and "10.0 points" in unclear.marks[0][1]


def test_a_generative_score_tells_unread_answers_and_where_answers_begin(comparison):
    cell = cell_view(CELL, "gen")
    assert (cell.invalid, cell.answer_token, cell.flips) == ("25\u202f%", "1.5", "12\u202f%")
    shown = [row for row in matrix(comparison) if row.head.kind == "gen"]
    assert all(cell.invalid and cell.answer_token for row in shown for cell in row.cells if cell.score != "–")


def test_a_score_without_evidence_is_marked():
    assert [sign for sign, _ in cell_view(CELL | {"no_evidence": True}, "mc").marks] == ["*", "∅"]


def test_a_failed_cell_says_why():
    cell = cell_view(CELL | {"value": None, "failed": "No data."}, "mc")
    assert cell.score == "–" and cell.marks == (("not measured", "No data."),)


def test_pair_table_shows_the_baseline_of_the_same_task(comparison):
    table = next(table for table in pair_tables(comparison) if table.config.id == "spin")
    task = next(task for task in comparison["tasks"] if task["task"] == "polish_8tags_multiple_choice")
    row = next(row for row in table.rows if row.label == "8tags")
    assert row.mc.reference == decimal(task["cells"]["fp16"]["value"] * 100)
    assert row.mc.cell.score == decimal(task["cells"]["spin"]["value"] * 100)


def test_cards_hold_verdict_reason_and_stored_bits(comparison):
    card = next(card for card in cards(comparison) if card.config.id == "spin")
    assert (card.title, card.tone, card.stored_bpw) == ("Dissociated", "split", "2.19")
    assert card.reason == "Retention is 0.86 in multiple choice and 0.37 in generation."
    assert [gauge.text for gauge in card.gauges] == ["86\u202f%", "37\u202f%"]
    assert ("rules that hold", "dissociated, uniform damage") in card.details
    assert "35\u202f% of free texts degenerate (baseline 0\u202f%)" in card.evidence


def test_an_unknown_verdict_keeps_its_name(comparison):
    comparison["verdicts"][0]["verdict"] = "half_asleep"
    assert cards(comparison)[0].title == "Half asleep"


def test_evidence_leaves_out_what_was_not_measured():
    assert (
        evidence_sentence({"index": 0.5, "index_low": 0.4, "index_high": 0.6}, None)
        == "Dissociation index 0.50 [0.40, 0.60]."
    )
    assert evidence_sentence({"degenerate_rate": None}, None) == "No evidence was measured."


def test_headline_of_one_configuration_tells_its_figures(comparison):
    comparison["configurations"] = [c for c in comparison["configurations"] if c["id"] in ("fp16", "spin")]
    assert headline(comparison) == (
        "spinquant at 2.19 stored bits per weight keeps 86\u202f% of multiple choice "
        "and 37\u202f% of generation: dissociated."
    )


def test_retention_panels_end_with_the_mean_and_keep_excluded_rows(comparison):
    panel = retention_panels(comparison)[0]
    assert panel.rows[-1].is_mean and panel.rows[-1].mc.value == comparison["summary"]["quip"]["r_mc"]
    assert [row.label for row in panel.rows if not row.included] == ["dyk"]


def test_points_without_numbers_are_left_out(comparison):
    comparison["summary"]["spin"]["r_gen"] = None
    assert "spinquant" not in {point.label for point in plane_points(comparison)}
    assert {point.label for point in storage_points(comparison)} == {"quipsharp", "vptq", "rtn"}


def test_artifacts_are_found_by_digest_before_plugin(comparison):
    seeds = copy.deepcopy(comparison["artifacts"][0])
    comparison["artifacts"].append(seeds | {"digest": "sha256:quip", "stored_bpw": 9.0})
    config = next(c for c in configurations(comparison) if c.id == "quip")
    assert artifact_of(comparison, config)["stored_bpw"] == 9.0


def test_repeated_runs_of_four_words_are_marked():
    text = "a b c d  a b c d e"
    pieces = mark_repeats(text)
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.text.strip() for piece in pieces if piece.is_repeat] == ["a b c d"]
    assert not any(piece.is_repeat for piece in mark_repeats("jeden dwa trzy cztery pięć"))
    assert [piece.text for piece in mark_repeats("")] == [""]


def test_documents_that_changed_most_come_first(comparison):
    tasks = answer_tasks(comparison)
    for task in tasks:
        flips = [row.flips for row in task.rows]
        assert flips == sorted(flips, reverse=True) and len(flips) == 4 and task.left_out == 2
    right = next(item for item in comparison["generations"] if item["doc_id"] == 0)
    before = right["responses"]["fp16"]["value"]
    expected = sum(r["value"] != before for r in right["responses"].values())
    rows = answer_tasks(comparison, per_task=99)[0].rows
    assert next(row for row in rows if row.doc_id == "0").flips == expected


def test_methods_are_ranked_among_those_that_store_as_much(comparison):
    bits = {"quipsharp": 2.02, "vptq": 2.11, "spinquant": 2.12, "rtn": 2.25}
    for row in comparison["artifacts"]:
        row["stored_bpw"] = bits[row["plugin"]]
    classes = bits_classes(comparison)
    assert [[row.config.label for row in group.rows] for group in classes] == [
        ["quipsharp", "vptq"], ["spinquant"], ["rtn"],
    ]  # fmt: skip
    assert classes[0].title == "2.02 to 2.11 stored bits per weight"
    assert [row.place for row in classes[0].rows] == [1, 2]
    assert classes[0].rows[0].mc == "96\u202f% [91, 100]"
    beaten = {row.config.label: row.beaten_by for group in classes for row in group.rows}
    assert beaten == {
        "quipsharp": (), "vptq": ("quipsharp",), "spinquant": ("quipsharp",),
        "rtn": ("quipsharp", "vptq", "spinquant"),
    }  # fmt: skip


def test_ablated_and_unmeasured_configurations_are_not_ranked(comparison):
    comparison["summary"]["rtn"]["r_gen"] = None
    ranked = {row.config.id for group in bits_classes(comparison) for row in group.rows}
    assert ranked == {"quip", "spin", "vptq"}
