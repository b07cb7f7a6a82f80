from __future__ import annotations

import random

import pytest

from qharness.evaluation.degeneration import LOOP_TOKENS, distinct, invalid_share, judge, loop_onset
from qharness.evaluation.free import load_prompts

VARIED = random.Random(0).sample(range(1000), 200)


@pytest.mark.parametrize("period", [1, 2, 7, 32])
def test_loop_is_found_where_it_begins(period) -> None:
    tokens = VARIED[:50] + VARIED[100 : 100 + period] * 3
    assert loop_onset(tokens) == 50
    assert loop_onset(tokens[:-1]) is None
    assert loop_onset([*tokens, 5000]) is None


def test_period_above_the_limit_is_no_loop() -> None:
    assert loop_onset(VARIED[:33] * 4) is None


def test_clean_text_is_not_degenerate() -> None:
    quality = judge(VARIED, "Pewnego dnia Anna poszła do lasu i zobaczyła tam wysokie drzewo.\n")
    assert quality.seq_rep_4 == 0 and quality.distinct_2 == 1 and quality.loop_onset is None
    assert not quality.degenerate


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (VARIED[:100] + [7, 8] * (LOOP_TOKENS // 2), "tekst"),
        (VARIED[:20] + VARIED[:20] + VARIED[:21] + [999], "tekst"),
        (VARIED, "tekst \ufffd\ufffd"),
        ([], "  \n"),
    ],
    ids=["loop", "repetition", "invalid", "empty"],
)
def test_degenerate_texts(tokens, text) -> None:
    assert judge(tokens, text).degenerate


def test_trailing_dots_alone_are_not_degenerate() -> None:
    quality = judge([*VARIED, 7, 7, 7], "i tak dalej...")
    assert quality.loop_onset == len(VARIED)
    assert not quality.degenerate


def test_distinct_of_short_texts() -> None:
    assert distinct([1, 2, 3], 4) == 1.0
    assert distinct([1, 1, 1, 1], 2) == pytest.approx(1 / 3)


def test_polish_letters_and_white_space_are_valid() -> None:
    assert invalid_share("Zażółć gęślą jaźń –\t„tak”\n") == 0
    assert invalid_share("a\x07\ue000\ufffd") == 0.75


def test_prompts_are_sixty_and_the_first_twenty_have_all_four_registers() -> None:
    prompts = load_prompts()
    assert len({p.id for p in prompts}) == len({p.prompt for p in prompts}) == 60
    assert len({p.register for p in prompts[:20]}) == len({p.register for p in prompts}) == 4
