"""What plugins declare their records with; imports nothing heavy, so that top modules of plugins may use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from importlib import import_module
from typing import Any


def option(default: Any, text: str) -> Any:
    """Return a field of an options dataclass.

    Args:
        default: Its default.
        text: What it does, for `--help` and reports.
    """
    return field(default=default, metadata={"help": text})


def imported(target: str) -> Callable[[], Any]:
    """Return a function without arguments that imports an object when it is called and returns it.

    Args:
        target: `module:name`.
    """
    module, _, name = target.partition(":")
    return lambda: getattr(import_module(module), name)


def calling(target: str) -> Callable[..., Any]:
    """Return a function that imports another one when it is called, and calls it.

    Args:
        target: `module:name` of a function or class.
    """
    get = imported(target)
    return lambda *arguments, **keywords: get()(*arguments, **keywords)
