"""When a generated sequence ends: end of text, a stop string, or the limit; the rules are those of lm-eval's HFLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qharness.engines.base import GenerationRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOOK_BACK = 2
"""Tokens decoded beyond a stop string's own length: the model may spell it with more tokens."""


def cut_text(text: str, until: Sequence[str]) -> str:
    """Return the text before the stop strings, cut by one after the other."""
    for stop in until:
        if stop:
            text = text.split(stop)[0]
    return text


class StopRule:
    """Decides after each token whether a sequence is finished.

    Args:
        tokenizer: Tokenizer of the model.
        eos: Ids that end the text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, eos: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._eos = eos
        self._windows: dict[tuple[str, ...], dict[int, list[str]]] = {}
        self._may_end: dict[tuple[str, ...], dict[int, bool]] = {}

    def finish(self, request: GenerationRequest, tokens: Sequence[int]) -> str:
        """Return why the sequence ends with its last token (`stop`, `eos`, `length`), or an empty string."""
        if tokens[-1] in self._eos:
            return "eos"
        if self._can_end(request.until, tokens[-1]):
            for size, stops in self._windows_of(request.until).items():
                tail = self._tokenizer.decode(tokens[-size:])
                if any(stop in tail for stop in stops):
                    return "stop"
        return "length" if len(tokens) >= request.max_new_tokens else ""

    def text(self, request: GenerationRequest, tokens: Sequence[int]) -> str:
        """Return the generated text without special tokens, up to the first stop string."""
        return cut_text(self._tokenizer.decode(tokens, skip_special_tokens=True), request.until)

    def _can_end(self, until: tuple[str, ...], token: int) -> bool:
        """Return whether a stop string may be complete with this token: its text holds the last character of one.

        A token that is no text of its own (a part of a character, a space that decoding drops) is always looked at.
        """
        known = self._may_end.setdefault(until, {})
        if token not in known:
            last = {stop[-1] for stop in until if stop}
            text = self._tokenizer.decode([token])
            is_whole = bool(text.strip()) and "\ufffd" not in text
            known[token] = not is_whole or any(c.isspace() for c in last) or any(c in text for c in last)
        return known[token]

    def _windows_of(self, until: tuple[str, ...]) -> dict[int, list[str]]:
        """Return the stop strings by the number of last tokens in which they are looked for."""
        if until not in self._windows:
            found: dict[int, list[str]] = {}
            for stop in until:
                if stop:
                    size = len(self._tokenizer.encode(stop, add_special_tokens=False)) + LOOK_BACK
                    found.setdefault(size, []).append(stop)
            self._windows[until] = found
        return self._windows[until]
