"""Pairs of documents that two measurements have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from qharness.results.measured import Documents


@dataclass(frozen=True)
class Paired:
    """The common documents in one order, and how many of either had no partner."""

    first: Documents
    second: Documents
    unpaired: int

    def __len__(self) -> int:
        return len(self.first)


def pair_prompts(first: Documents, second: Documents) -> Paired:
    """Pair documents that were asked with exactly the same prompt."""
    return _pair(first, second, _keys(first.doc_id, first.prompt_hash), _keys(second.doc_id, second.prompt_hash))


def pair_documents(first: Documents, second: Documents) -> Paired:
    """Pair the same documents asked in different ways; repeated documents pair in order."""
    return _pair(first, second, _numbered(first.doc_hash), _numbered(second.doc_hash))


def _pair(first: Documents, second: Documents, keys: list[Hashable], others: list[Hashable]) -> Paired:
    where = {key: i for i, key in enumerate(others)}
    matches = [(i, where[key]) for i, key in enumerate(keys) if key in where]
    index = np.array(matches, dtype=np.int64).reshape(-1, 2)
    unpaired = len(first) + len(second) - 2 * len(index)
    return Paired(first.take(index[:, 0]), second.take(index[:, 1]), unpaired)


def _keys(*columns: Iterable[Hashable]) -> list[Hashable]:
    return list(zip(*columns, strict=True))


def _numbered(hashes: Iterable[str]) -> list[Hashable]:
    seen: dict[str, int] = defaultdict(int)
    keys: list[Hashable] = []
    for value in hashes:
        keys.append((value, seen[value]))
        seen[value] += 1
    return keys
