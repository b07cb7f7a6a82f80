"""What a run ran on: versions, processor, accelerator, threads."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

_LIBRARIES = (
    "torch", "transformers", "lm-eval", "datasets", "tokenizers", "safetensors", "numpy", "scipy", "scikit-learn",
    "pyarrow", "duckdb", "triton", "gguf", "vllm", "ray", "pluggy",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Describe the machine and the installed versions that can change a result.

    Torch is asked only if it is already imported.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "packages": _packages(),
        **_torch(),
    }


def _packages() -> dict[str, str]:
    names = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
    return {
        name: version
        for name, version in sorted(names.items())
        if name.lower() in _LIBRARIES or name.lower().startswith("qharness")
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _torch() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {"threads": None, "gpu": None, "cuda": None}
    available = torch.cuda.is_available()
    return {
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if available else None,
        "cuda": torch.version.cuda if available else None,
    }
