"""Where in a generated sequence the scored answer stands."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from qharness.engines.base import Generation


def answer_token(generation: Generation, answer: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the index of the generated token with which the answer begins, -1 if it is not in the text.

    Args:
        generation: The generated tokens and their text.
        answer: The scored answer as found in the text.
        tokenizer: Tokenizer of the model.
    """
    wanted = answer.strip()
    place = generation.text.find(wanted) if wanted else -1
    if place < 0:
        return -1
    low, high = 1, len(generation.tokens)
    while low < high:
        middle = (low + high) // 2
        if len(tokenizer.decode(generation.tokens[:middle], skip_special_tokens=True)) > place:
            high = middle
        else:
            low = middle + 1
    return low - 1


def median_answer_token(places: Iterable[int]) -> float | None:
    """Return the median of `answer_token` over the answers that were found; None if none was."""
    found = [place for place in places if place >= 0]
    return float(median(found)) if found else None
