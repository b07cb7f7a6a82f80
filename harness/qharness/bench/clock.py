"""Wall-clock and processor time of what happens inside a `with`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType

import torch


@dataclass
class Clock:
    """Times the body of a `with`; a GPU's queued work is waited for at both ends.

    Attributes:
        device: Device of the work.
        seconds: Wall-clock time.
        cpu_seconds: Processor time of this process, all threads together.
    """

    device: torch.device
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __enter__(self) -> Clock:
        self._wait()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait()
        self.seconds += time.perf_counter() - self._wall
        self.cpu_seconds += time.process_time() - self._cpu

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
