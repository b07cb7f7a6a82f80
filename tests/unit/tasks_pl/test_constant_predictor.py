"""The best constant answer against cases worked out by hand, and against the scorers."""

from __future__ import annotations

import pytest

from qharness_tasks_pl.constant_predictor import best_constant_score
from qharness_tasks_pl.scoring import letters, polqa


def test_accuracy_is_the_majority_share():
    assert best_constant_score([0, 1, 1, 2], "acc") == 0.5
    assert best_constant_score(["a", ["b", "a"], ["b", "c"], "b"], "exact_match") == 0.75


def test_binary_f1_is_always_positive_even_if_rare():
    gold = [0, 0, 0, 1]
    assert best_constant_score(gold, "f1") == pytest.approx(0.4)
    assert best_constant_score(gold, "f1") == pytest.approx(letters.binary_f1([(g, 1) for g in gold]))
    assert best_constant_score(["B", "B", "B", "C"], "f1") == pytest.approx(0.4)
    assert best_constant_score(["Nie", "Nie", "Nie", "Tak"], "f1") == pytest.approx(0.4)
    assert best_constant_score(["B", "B"], "f1") == 0


def test_macro_f1_is_that_of_the_best_class():
    gold = [0, 0, 0, 1, 2, 2]
    best = max(letters.macro_f1([(g, constant) for g in gold]) for constant in (0, 1, 2))
    assert best_constant_score(gold, "f1") == pytest.approx(best)


def test_levenshtein_tries_every_gold_answer_and_counts_near_hits():
    gold = [["Łódź", "miasto Łódź"], ["Łodź"], ["Kraków"], ["12"], ["12 lat"], ["rok 12"], ["99"]]
    candidates = {answer for answers in gold for answer in answers}
    best = max(sum(polqa.levenshtein(answers, [c]) for answers in gold) / len(gold) for c in candidates)
    assert best_constant_score(gold, "levenshtein") == pytest.approx(best) == pytest.approx(3 / 7)


def test_eq_bench_and_unknown_metrics():
    assert best_constant_score(["x"], "average_eqbench") == 0
    with pytest.raises(ValueError, match="bleu"):
        best_constant_score(["x"], "bleu")
    with pytest.raises(ValueError, match="at least one"):
        best_constant_score([], "acc")
