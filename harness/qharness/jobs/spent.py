"""What work took: time, and tokens that the model forwarded."""

from __future__ import annotations

import time
from dataclasses import dataclass

from qharness.engines.planned import PlannedEngine


@dataclass(frozen=True)
class Spent:
    """What a piece of work took.

    Attributes:
        seconds: Time.
        prefill: Tokens forwarded in prefill passes.
        decode: Tokens fed one by one.
    """

    seconds: float = 0.0
    prefill: int = 0
    decode: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.prefill + other.prefill, self.decode + other.decode)


class Stopwatch:
    """Measures from now on.

    Args:
        engine: Engine whose tokens are counted; one that does not count them counts none.
    """

    def __init__(self, engine: object) -> None:
        self._engine = engine
        self._seconds = time.monotonic()
        self._prefill, self._decode = self._tokens()

    def read(self) -> Spent:
        """Return what was spent since the beginning."""
        prefill, decode = self._tokens()
        return Spent(time.monotonic() - self._seconds, prefill - self._prefill, decode - self._decode)

    def _tokens(self) -> tuple[int, int]:
        if not isinstance(self._engine, PlannedEngine):
            return 0, 0
        return self._engine.forwarded.prefill, self._engine.forwarded.decode
