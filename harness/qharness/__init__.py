"""qharness: quantize language models to about 2 bits with pluggable methods and compare what they kept."""

from __future__ import annotations

import pluggy

API_VERSION = 1
"""Version of the plugin API: the hooks of `qharness.hookspecs` and the records of `qharness.records`."""

hookspec = pluggy.HookspecMarker("qharness")
hookimpl = pluggy.HookimplMarker("qharness")

__version__ = "0.1.0"

__all__ = ["API_VERSION", "__version__", "hookimpl", "hookspec"]
