"""When an answer counts as unreadable."""

from __future__ import annotations

import pytest

from qharness.evaluation.rows import is_unreadable


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        ("[invalid]", "B", True),
        (" ", "fontanna", True),
        ("", ["fontanna", "studnia"], True),
        ("", "", False),
        (" ", ["fontanna", ""], False),
        ("ręka", "", False),
        ("B", 1, False),
        ("", 0, True),
    ],
)
def test_silence_is_an_answer_only_to_questions_without_one(prediction, target, expected):
    assert is_unreadable(prediction, target) is expected
