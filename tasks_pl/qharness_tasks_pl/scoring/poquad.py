"""Levenshtein hits of the PoQuAD task, with the quirks of the leaderboard's scorer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qharness_tasks_pl.scoring.levenshtein import is_hit

END = re.compile(r".? ?(</s>)* ?$")
"""The dot is not escaped there, so the last character of every response goes."""


def levenshtein(references: Sequence[str], predictions: Sequence[str]) -> int:
    """Return 1 if the response matches a gold answer, else 0.

    The gold answer begins with a space: the distance is measured without it, the bound is half the length with it.
    """
    response = predictions[0]
    trimmed = END.sub("", response.lower().lstrip())
    return int(any(is_hit(response, trimmed, gold, gold.lower().lstrip()) for gold in references))
