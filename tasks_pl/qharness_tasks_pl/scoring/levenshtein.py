"""Approximate match of open answers, after the metric of PolEval 2021 task 4 as the leaderboard runs it.

A gold answer with a number wants that number; any other wants an edit distance below half its length.
"""

from __future__ import annotations

import re

NUMBER = re.compile(r"[-]?\d[\d,]*[\.\,]?[\d{2}]*")
"""The leaderboard's pattern: its last class holds digits and braces."""


def first_number(text: str) -> str | None:
    """Return the first number of a text with `,` as `.`, or None."""
    found = NUMBER.search(text)
    return found.group().replace(",", ".") if found else None


def is_hit(response: str, trimmed: str, gold: str, trimmed_gold: str) -> bool:
    """Compare a response with one gold answer.

    Args:
        response: The response; its number counts.
        trimmed: The response in lower case as its task trims it; its letters count.
        gold: The gold answer; its number counts, and half its length is the bound.
        trimmed_gold: The gold answer in lower case as its task trims it.
    """
    from Levenshtein import distance

    number = first_number(gold)
    if number is not None:
        return number == first_number(response)
    return distance(trimmed, trimmed_gold) < len(gold) / 2
