"""How long a run still takes: remaining tokens over the rates that its finished steps had."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from time import monotonic

from qharness.estimation.sizes import Rates, StepSize
from qharness.evaluation.base import StepKey
from qharness.jobs.spent import Spent

Label = Hashable
"""A configuration of the run."""


class Forecast:
    """Tells the remaining time of a run.

    The probe's rates are corrected by what finished steps took for the tokens that they really forwarded, so answers
    from the request cache, another quantization or a slower phase of the machine do not mislead it. How long texts
    are is learnt for each step from the first configuration that finished it.

    Args:
        workers: Jobs that run at once.
        clock: Returns seconds.
    """

    def __init__(self, workers: int = 1, clock: Callable[[], float] = monotonic) -> None:
        self._workers, self._clock = workers, clock
        self._rates: Rates | None = None
        self._sizes: dict[StepKey, StepSize] = {}
        self._waiting: dict[tuple[Label, StepKey], int | None] = {}
        self._more = self._builds = 0
        self._built: list[float] = []
        self._spent = self._due = 0.0
        self._told = clock()

    def begin(self, sizes: Mapping[StepKey, StepSize], rates: Rates) -> None:
        """Take what a probe found: what each step asks, and how fast it is answered."""
        self._sizes, self._rates = dict(sizes), rates
        self._told = self._clock()

    @property
    def is_ready(self) -> bool:
        """Whether rates are known."""
        return self._rates is not None

    def expect(self, label: Label, keys: Iterable[StepKey], limit: int | None = None) -> None:
        """Note steps of a configuration that will be done; once is enough.

        Args:
            label: The configuration.
            keys: Its steps.
            limit: Documents of each, if the configuration has a limit of its own.
        """
        self._waiting |= {(label, key): limit for key in keys}

    def expect_more(self, count: int) -> None:
        """Note how many configurations will come that cannot be named yet; each is taken to do every step."""
        self._more = count

    def expect_builds(self, count: int) -> None:
        """Note how many models will be built in all."""
        self._builds = count

    def built(self, seconds: float) -> None:
        """Note that a model is ready."""
        self._told = self._clock()
        self._built.append(seconds)

    def finish(self, label: Label, key: StepKey, spent: Spent) -> None:
        """Note that a step is done."""
        self._told = self._clock()
        limit = self._waiting.pop((label, key), None)
        size = self._sizes.get(key)
        if size is None or self._rates is None:
            return
        part = _part(size, limit)
        if spent.decode and size.decode and part == 1:
            self._sizes[key] = replace(size, share=spent.decode / size.decode)
        self._spent += spent.seconds
        self._due += size.build * part + self._rates.seconds(spent.prefill, spent.decode)

    def drop(self, label: Label, keys: Iterable[StepKey]) -> None:
        """Note that steps will not be done: their model failed."""
        for key in keys:
            self._waiting.pop((label, key), None)

    @property
    def correction(self) -> float:
        """Seconds that finished steps took for each second that the probe's rates gave them; 1 before the first."""
        return self._spent / self._due if self._due > 0 else 1.0

    def total(self) -> float:
        """Return the remaining seconds as of the last finished job; 0 before rates are known."""
        if self._rates is None:
            return 0.0
        known = {key: self._rates.of(size) for key, size in self._sizes.items()}
        waiting = sum(
            known[key] * _part(self._sizes[key], limit) for (_, key), limit in self._waiting.items() if key in known
        )
        steps = waiting + self._more * sum(known.values())
        mean = sum(self._built) / len(self._built) if self._built else 0.0
        builds = mean * max(0, self._builds - len(self._built))
        return (steps * self.correction + builds) / self._workers

    def left(self) -> float:
        """Return the remaining seconds as of now."""
        return max(0.0, self.total() - (self._clock() - self._told))


def _part(size: StepSize, limit: int | None) -> float:
    """Return which part of a step so many documents are."""
    return 1.0 if limit is None else min(1.0, limit / max(size.documents, 1))
