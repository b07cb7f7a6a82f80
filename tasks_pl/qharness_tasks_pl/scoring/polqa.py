"""Levenshtein hits of the PolQA tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qharness_tasks_pl.scoring.levenshtein import is_hit

END = re.compile(r"\.? ?(</s>)* ?$")


def levenshtein(references: Sequence[str], predictions: Sequence[str | Sequence[str]]) -> int:
    """Return 1 if the response matches one of the gold answers, else 0.

    Args:
        references: Gold answers.
        predictions: The response; lm-eval hands it over inside a list of repetitions once it has scored
            exact_match against several answers.
    """
    response = predictions[0] if isinstance(predictions[0], str) else predictions[0][0]
    trimmed = END.sub("", response.lower())
    return int(any(is_hit(response, trimmed, gold, gold.lower()) for gold in references))
