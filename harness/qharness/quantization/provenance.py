"""Who quantized what, with which versions, in what time and memory."""

from __future__ import annotations

import platform
import resource
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from qharness import __version__
from qharness.errors import normalize_name
from qharness.records import QuantizerRecord

if TYPE_CHECKING:
    from qharness.host import Host

PACKAGES = ("torch", "transformers", "safetensors")


class PluginVersion(NamedTuple):
    """Name of a quantizer and version of the distribution that offers it."""

    name: str
    version: str


def plugin_version(host: Host, record: QuantizerRecord) -> PluginVersion:
    """Return the record's name and its plugin's version."""
    offer = host.offers(QuantizerRecord).get(normalize_name(record.name))
    found = {status.name: status.version for status in host.status}
    return PluginVersion(record.name, (found.get(offer.plugin) if offer else None) or "unversioned")


class Meter:
    """Measures wall-clock time by phase and peak memory.

    Args:
        device: Device whose memory counts.
    """

    def __init__(self, device: str) -> None:
        self.is_gpu = torch.device(device).type == "cuda"
        self.device = device
        self.phases: dict[str, float] = {}
        self._last = time.monotonic()
        if self.is_gpu:
            torch.cuda.init()
            torch.cuda.reset_peak_memory_stats(device)

    def lap(self, phase: str) -> None:
        """End a phase."""
        now = time.monotonic()
        self.phases[phase], self._last = now - self._last, now

    def describe(self) -> dict[str, Any]:
        """Return versions, seconds by phase, device, and peak memory in bytes."""
        return {
            "versions": {"qharness": __version__, "python": platform.python_version()}
            | {name: version(name) for name in PACKAGES},
            "seconds": self.phases,
            "device": torch.cuda.get_device_name(self.device) if self.is_gpu else platform.machine(),
            "peak_memory": torch.cuda.max_memory_allocated(self.device) if self.is_gpu else None,
            "peak_host_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
