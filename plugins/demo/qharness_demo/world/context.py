"""Random choices with the hold-out rule: training text never contains the combinations that evaluation uses."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
HOLD_OUT = 6


def held_out(*key: str) -> bool:
    """Whether a combination (entity, relation, value, ...) is reserved for evaluation: one in six, by CRC-32."""
    return zlib.crc32("|".join(key).encode()) % HOLD_OUT == 0


class Context:
    """A seeded source of choices; `evaluation` selects held-out combinations, otherwise they are avoided.

    `level` (0 to 1) is the stage of the curriculum: how many facts and entities a passage may have.
    """

    def __init__(self, seed: int | str, evaluation: bool = False, level: float = 1.0) -> None:
        self.rng = random.Random(seed)
        self.random = self.rng.random
        self.evaluation = evaluation
        self.level = level

    def pick(self, items: Sequence[T]) -> T:
        """A uniform choice."""
        return items[int(self.random() * len(items))]

    def below(self, n: int) -> int:
        """A uniform integer in [0, n)."""
        return int(self.random() * n)

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self.random() < p

    def skew(self, items: Sequence[T], power: float = 3.0) -> T:
        """A choice that favours the first items in training and is nearly uniform in evaluation: rare words are hard."""
        return items[int(len(items) * self.random() ** (1.3 if self.evaluation else power))]

    def allowed(self, *key: str) -> bool:
        """Whether the combination may be used in this context."""
        return held_out(*key) == self.evaluation

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """K different items."""
        return self.rng.sample(items, k)

    def shuffle(self, items: list[T]) -> list[T]:
        """Shuffle in place and return the list."""
        self.rng.shuffle(items)
        return items
