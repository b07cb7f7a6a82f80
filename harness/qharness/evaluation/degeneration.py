"""Signs of degeneration in one generated text."""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_PERIOD = 32
FEWEST_PERIODS = 3
LOOP_TOKENS = 32
REPEATED = 0.5
INVALID = 0.05
"""A text is degenerate if its final loop has at least LOOP_TOKENS tokens, or at least REPEATED of its 4-grams are
repetitions, or at least INVALID of its characters are invalid, or it shows nothing at all."""


@dataclass(frozen=True)
class TextQuality:
    """Metrics of one text; shares are fractions.

    Attributes:
        seq_rep_4: Share of token 4-grams that repeat an earlier one (arXiv 1908.04319, section 6).
        distinct_2: Distinct token bigrams over all bigrams (Li et al. 2016).
        compression_ratio: UTF-8 bytes over their zlib-compressed size.
        loop_onset: Token from which the text is periodic to its end, None if it never is.
        invalid_chars: Share of replacement, control, private-use and unassigned characters.
        degenerate: Whether the text is degenerate by the rule of this module.
    """

    seq_rep_4: float
    distinct_2: float
    compression_ratio: float
    loop_onset: int | None
    invalid_chars: float
    degenerate: bool


def judge(tokens: Sequence[int], text: str) -> TextQuality:
    """Return the metrics of a generated text and its tokens (end-of-text left out)."""
    onset = loop_onset(tokens)
    repeated = 1 - distinct(tokens, 4)
    invalid = invalid_share(text)
    is_looping = onset is not None and len(tokens) - onset >= LOOP_TOKENS
    return TextQuality(
        seq_rep_4=repeated,
        distinct_2=distinct(tokens, 2),
        compression_ratio=compression_ratio(text),
        loop_onset=onset,
        invalid_chars=invalid,
        degenerate=is_looping or repeated >= REPEATED or invalid >= INVALID or not text.strip(),
    )


def distinct(tokens: Sequence[int], size: int) -> float:
    """Return the distinct n-grams over all n-grams; 1.0 where there are none."""
    grams = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def compression_ratio(text: str) -> float:
    """Return UTF-8 bytes over compressed bytes; 0.0 for an empty text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def loop_onset(tokens: Sequence[int]) -> int | None:
    """Return the first token from which the sequence has a period of at most 32, at least three times, to its end."""
    onsets = []
    for period in range(1, LONGEST_PERIOD + 1):
        start = len(tokens)
        while start > period and tokens[start - 1 - period] == tokens[start - 1]:
            start -= 1
        onset = start - period
        if onset >= 0 and len(tokens) - onset >= FEWEST_PERIODS * period:
            onsets.append(onset)
    return min(onsets, default=None)


def invalid_share(text: str) -> float:
    """Return the share of characters that no writer meant: U+FFFD, and categories Cc (but white space), Co, Cn, Cs."""
    bad = sum(c == "\ufffd" or (unicodedata.category(c) in ("Cc", "Co", "Cn", "Cs") and not c.isspace()) for c in text)
    return bad / len(text) if text else 0.0
