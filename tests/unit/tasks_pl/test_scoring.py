"""Scorers against cases worked out by hand."""

from __future__ import annotations

import math

import pytest

from qharness_tasks_pl.scoring import eq_bench, letters, polqa, poquad, text


@pytest.mark.parametrize(
    ("gold", "prediction", "pair"),
    [("B", "C", (0, 1)), ("C", "B", (1, 0)), ("C", "[invalid]", (1, 0)), ("C", "A", (1, 0)), ("B", "D", (0, 0))],
)
def test_letters_outside_the_classes_count_as_the_first_class(gold, prediction, pair):
    assert letters.f1(references=[gold], predictions=[prediction], letters="BC") == pair


def test_binary_f1_is_that_of_class_1():
    # 2 true positives, 1 false positive, 1 false negative
    assert letters.binary_f1([(1, 1), (1, 1), (0, 1), (1, 0), (0, 0)]) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert letters.binary_f1([(0, 0), (0, 0)]) == 0.0


def test_macro_f1_averages_over_classes_seen_in_gold_or_prediction():
    # class 0: tp 1, fp 1, fn 0 -> 2/3; class 2: tp 1 fp 0 fn 1 -> 2/3; class 4: only predicted -> 0
    assert letters.macro_f1([(0, 0), (2, 2), (2, 0), (0, 4)]) == pytest.approx((0.5 + 2 / 3 + 0) / 3)


def test_invalid_letters():
    assert letters.invalid_rate(references=["A"], predictions=["[invalid]"]) == 1.0
    assert letters.invalid_rate(references=["A"], predictions=["B"]) == 0.0


@pytest.mark.parametrize(
    ("response", "gold", "hit"),
    [
        ("Łódź", "łódź", 1),
        ("Łodzi", "Łódź", 0),  # two substitutions, one insertion: 3 >= 2
        ("łodź", "łódź", 1),  # distance 1 < 2
        ("kot", "pies", 0),
        ("w 1,5 roku", "1.5", 1),
        ("1939", "w roku 1939", 1),
        ("rok 1940", "w roku 1939", 0),
        ("nie wiem", "1939", 0),
        ("ma 1939 lat", "lat", 0),  # gold without a number: letters count, 8 edits
        ("Łódź.</s></s>", "łódź", 1),
        ("Łódź. </s>", "łódź", 1),
    ],
)
def test_polqa_levenshtein(response, gold, hit):
    assert polqa.levenshtein(references=[gold], predictions=[response]) == hit
    assert polqa.levenshtein(references=[gold], predictions=[[response, response]]) == hit
    assert polqa.levenshtein(references=["xxxxxxxxxxxxxxxxxxxxxxxx", gold], predictions=[response]) == hit


def test_polqa_strips_an_end_of_sentence_only():
    assert polqa.levenshtein(references=["ab"], predictions=["ab"]) == 1
    assert polqa.levenshtein(references=["ab"], predictions=["ab."]) == 1  # without stripping: distance 1 >= 1
    assert polqa.levenshtein(references=["ab"], predictions=["abc"]) == 0


def test_poquad_loses_the_last_character_of_every_response():
    assert poquad.levenshtein(references=[" ab"], predictions=["abc"]) == 1  # "ab" is left
    assert poquad.levenshtein(references=[" a"], predictions=["a"]) == 0  # "" is left: distance 1 >= 2 / 2
    assert poquad.levenshtein(references=[" ab"], predictions=[" ab"]) == 1  # "a" is left: 1 < 3 / 2, space counted
    assert poquad.levenshtein(references=[" ab"], predictions=["xyab"]) == 0


def test_poquad_takes_the_number_from_the_untrimmed_response():
    assert poquad.levenshtein(references=[" 1939"], predictions=["1939"]) == 1
    assert poquad.levenshtein(references=[" 193"], predictions=["1939"]) == 0


def test_the_number_pattern_keeps_its_thousands_and_trailing_point():
    assert polqa.levenshtein(references=["10,000"], predictions=["10.000"]) == 1
    assert polqa.levenshtein(references=["1999"], predictions=["1999."]) == 0  # the point is part of the match
    assert polqa.levenshtein(references=["-5"], predictions=["5"]) == 0


@pytest.mark.parametrize(
    ("response", "hit", "invalid"),
    [
        ("Film", 1, 0),
        ("  film. ", 1, 0),
        ("FILM!”", 1, 0),
        ("Sport", 0, 0),
        ("Film i sport", 0, 1),
        ("", 0, 1),
        (".film", 0, 1),
    ],
)
def test_text_answers(response, hit, invalid):
    kwargs = {"references": ["Film"], "predictions": [response], "options": ["Film", "Sport"]}
    assert (text.exact_match(**kwargs), text.invalid_rate(**kwargs)) == (hit, invalid)


REFERENCE = {f"emotion{i}": name for i, name in enumerate(["Złość", "Ulga", "Wstyd i żal", "Duma"], 1)}
FIRST = str(REFERENCE | {"emotion1_score": 1, "emotion2_score": "2", "emotion3_score": 3, "emotion4_score": 10})
FULL = REFERENCE | {"emotion1_score": 0, "emotion2_score": 2, "emotion3_score": 3, "emotion4_score": 9}
PERFECT = "Złość: 1\nUlga: 2\nWstyd i żal: 3\nDuma: 10\n"


def penalty(d: float) -> float:
    return 0 if d == 0 else 6.5 / (1 + math.exp(-1.2 * (d - 4))) if d <= 5 else d


def test_eq_bench_takes_text_or_mapping_and_averages_the_two_passes():
    response = PERFECT + "[Krytyka]\nDobrze.\nZmienione oceny:\nZłość: 1\nUlga: 2\nWstyd i żal: 3\nDuma: 3\nUwaga: 5\n"
    scores = eq_bench.score({"reference_answer": FIRST, "reference_answer_fullscale": FULL}, [response])
    revised = (10 - 0.7477 * (penalty(1) + penalty(6))) * 10
    assert scores["first_eqbench"] == 100
    assert scores["revised_eqbench"] == pytest.approx(revised)
    assert scores["average_eqbench"] == pytest.approx((100 + revised) / 2)
    assert scores["first_percent_parseable"] == scores["revised_percent_parseable"] == 100


def test_eq_bench_first_pass_breaks_on_an_extra_pair_and_without_revision():
    doc = {"reference_answer": FIRST, "reference_answer_fullscale": str(FULL)}
    assert eq_bench.score(doc, [PERFECT])["average_eqbench"] == 0
    spoiled = eq_bench.score(
        doc, [PERFECT + "Krytyka: 7\nZmienione oceny:\nZłość: 0\nUlga: 2\nWstyd i żal: 3\nDuma: 9"]
    )
    assert (spoiled["first_eqbench"], spoiled["revised_eqbench"]) == (0, 100)


def test_eq_bench_first_turn_reads_four_pairs_and_is_case_sensitive():
    doc = {"reference_answer": FIRST}
    assert eq_bench.score_first(doc, [PERFECT + "Inna: 4"])["first_eqbench"] == 100
    assert eq_bench.score_first(doc, [PERFECT.lower()]) == {"first_eqbench": 0, "first_percent_parseable": 0}
    assert eq_bench.score_first(doc, ["Złość: 1\nZłość: 2\nUlga: 2\nDuma: 10\n"])["first_percent_parseable"] == 0


def test_eq_bench_can_be_negative():
    far = "Złość: 10\nUlga: 10\nWstyd i żal: 10\nDuma: 0\n"
    assert eq_bench.score_first({"reference_answer": FIRST}, [far])["first_eqbench"] == pytest.approx(
        (10 - 0.7477 * (9 + 8 + 7 + 10)) * 10
    )
