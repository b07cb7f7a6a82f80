"""The ablation matrix: which rows a method has, and what they share."""

from __future__ import annotations

import pytest

from qharness.errors import UsageError
from qharness.jobs.configurations import ArtifactSpec, Built, artifact_specs, configurations
from qharness.jobs.matrix import Subject, drafts, rows_of, selected
from qharness.jobs.plan import RunPlan
from qharness.transforms.contract import hadamard_entry

DOWN = "model.layers.*.mlp.down_proj"
R4 = hadamard_entry(id="r4", modules=DOWN, site="linear_input", size=96)
R3 = [
    hadamard_entry(id="r3", modules="model.layers.*.self_attn", site=site, size=16, needed_if="kv_bits < 16")
    for site in ("q_post_rope", "k_pre_cache")
]
HEADS = hadamard_entry(id="across_heads", modules="model.layers.*.self_attn.o_proj", site="linear_input", size=64)
OWN = ArtifactSpec("method", 3)


def letters(rows):
    return list(dict.fromkeys(row.name.rstrip("0123456789") for row in rows if not row.name.startswith("dose")))


def test_a_method_with_r3_and_r4_has_every_row_and_few_artifacts():
    subject = Subject(OWN, [R4, *R3], 10, True, True, ArtifactSpec("gptq"), ArtifactSpec("iq2"))
    rows = drafts(subject)
    assert letters(rows) == ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "M"]
    assert len({row.artifact for row in rows}) == 6
    by_name = {row.name: row for row in rows}
    assert by_name["C"].artifact.weights == "original" and by_name["C"].ablation == ("r4",)
    assert by_name["G"].artifact == by_name["F"].artifact == OWN
    assert (by_name["I2"].ablation, by_name["I2"].kv_bits, by_name["I2"].kv_prefill) == (("r3",), 2, "invisible")
    assert (by_name["K4"].ablation, by_name["K4"].kv_prefill) == ((), "visible")
    assert by_name["J4"].ablation == ("r3:q_post_rope",)
    assert len({(r.artifact, r.ablation, r.kv_bits, r.kv_prefill) for r in rows}) == len(rows)


def test_the_dose_curve_has_single_middle_layers_the_middle_outward_both_ends_and_shares():
    rows = [row.ablation[0] for row in drafts(Subject(OWN, [R4], 10)) if row.name.startswith("dose")]
    assert rows == [
        "r4@layers=2", "r4@layers=5", "r4@layers=7", "r4@layers=4,5", "r4@layers=3,4,5,6",
        "r4@layers=1,2,3,4,5,6,7,8", "r4@layers=0", "r4@layers=9",
        "r4@channels=5%", "r4@channels=10%", "r4@channels=25%", "r4@channels=50%",
    ]  # fmt: skip


def test_a_method_without_transforms_keeps_only_what_means_something():
    rows = drafts(Subject(OWN, [], 4))
    assert [row.name for row in rows] == ["A", "F", "I4", "I2", "K4", "K2"]


def test_several_online_places_are_left_out_in_every_combination():
    rows = {row.name: row for row in drafts(Subject(OWN, [R4, HEADS], 4))}
    assert rows["G"].ablation == ("r4", "across_heads")
    assert {name: row.ablation for name, row in rows.items() if name[0] == "L"} == {
        "L r4": ("r4",), "L across_heads": ("across_heads",),
    }  # fmt: skip


def test_rows_are_chosen_by_letter_name_or_dose_and_the_ceiling_always_runs():
    rows = drafts(Subject(OWN, [R4, *R3], 10))
    assert [row.name for row in selected(rows, ["h", "K2"])] == ["A", "H4", "H2", "K2"]
    assert {row.name.split()[0] for row in selected(rows, ["dose"])} == {"A", "dose"}
    with pytest.raises(UsageError, match="no such row"):
        selected(rows, ["E"])


def built(plugin, *transforms):
    return Built(ArtifactSpec(plugin), plugin, plugin, transforms)


def test_a_quantized_cache_leaves_the_baseline_with_an_exact_one_to_compare_with():
    plan = RunPlan(("method",), ("suite",), kv_bits=4, kv_prefill="visible", ablate=("r3", "r4@layers=1"))
    found = configurations(plan, [built("fp16"), built("method", R4, *R3)])
    assert [(c.built.plugin, c.ablation, c.kv_bits, c.kv_prefill) for c in found] == [
        ("fp16", (), 16, ""), ("fp16", (), 4, "visible"), ("method", (), 4, "visible"),
        ("method", ("r3",), 4, "visible"), ("method", ("r4@layers=1",), 4, "visible"),
    ]  # fmt: skip


def test_seeds_and_calibrations_multiply_the_artifacts():
    plan = RunPlan(("a", "b"), (), seed=5, seeds=2, calibrations={"pl": ["file:x"], "en": ["file:y"]})
    specs = artifact_specs(plan)
    assert specs[0] == ArtifactSpec("fp16", 5)
    assert {(s.plugin, s.seed, s.calibration) for s in specs[1:]} == {
        (plugin, seed, text) for plugin in "ab" for seed in (5, 6) for text in ("pl", "en")
    }
    own = specs[1].plan(plan)
    assert own.texts == ("file:x",) and own.seed == 5
    assert RunPlan.from_json(plan.to_json()).calibrations == plan.calibrations


def test_the_dose_rows_alone_take_fewer_documents():
    chosen = drafts(Subject(OWN, [R4], 10))
    models = {row.artifact: Built(row.artifact, row.artifact.plugin, "digest", (R4,)) for row in chosen}
    limits = {row.name: row.configuration.limit for row in rows_of(chosen, models, 30)}
    assert {name.split()[0] for name, limit in limits.items() if limit == 30} == {"dose"}
    assert {limit for name, limit in limits.items() if not name.startswith("dose")} == {None}
    assert {row.configuration.limit for row in rows_of(chosen, models)} == {None}
