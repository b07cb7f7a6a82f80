"""Kernels of other projects, from a folder of the user's."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Call = Callable[[], object]
Maker = Callable[[int, int, int, torch.dtype, int], Call | None]


class UnusableReference(ValueError):
    """A module of the folder cannot be used; the message says why."""


def load_references(folder: Path) -> dict[str, Mapping[str, Maker]]:
    """Import the modules of a folder.

    Args:
        folder: Its `*.py` files; each has a dictionary `KERNELS` from names of what is measured to
            `make(out_features, in_features, rows, dtype, seed)`, which puts random inputs on the GPU and returns a
            function of no arguments that runs the kernel on them; or None if it cannot do that size.

    Returns:
        The dictionaries by the modules' names.

    Raises:
        UnusableReference: The folder has no modules, or one fails or lacks the dictionary.
    """
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    if not files:
        raise UnusableReference(f"{folder} has no Python modules.")
    return {path.stem: _kernels(path) for path in files}


def _kernels(path: Path) -> Mapping[str, Maker]:
    spec = importlib.util.spec_from_file_location(f"qharness_reference_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UnusableReference(f"{path} cannot be imported: {error}") from error
    kernels: Any = getattr(module, "KERNELS", None)
    if not isinstance(kernels, Mapping) or not all(callable(make) for make in kernels.values()):
        raise UnusableReference(f"{path} has no dictionary KERNELS of functions.")
    return kernels
