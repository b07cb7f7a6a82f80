"""One tree of errors: each says in one sentence what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class QharnessError(Exception):
    """Base of every error that qharness raises on purpose; shown to users without a traceback."""

    exit_code = 1


class UsageError(QharnessError):
    """The command line or the arguments of a call are wrong."""

    exit_code = 2


class UnknownName(UsageError):
    """A plugin, suite, task or option of that name does not exist.

    Args:
        noun: What was looked for, for example `plugin`.
        name: The name that was given.
        known: The names that exist.
        note: A further sentence, for example on plugins that failed to load.
    """

    def __init__(self, noun: str, name: str, known: Iterable[str], note: str = "") -> None:
        names = sorted(known)
        near = get_close_matches(normalize_name(name), [normalize_name(n) for n in names], n=1, cutoff=0.5)
        matches = [n for n in names if near and normalize_name(n) == near[0]]
        hint = f"Did you mean '{matches[0]}'?" if matches else f"Known: {', '.join(names) or 'none'}."
        super().__init__(f"There is no {noun} '{name}'. {hint} {note}".rstrip())


class MissingData(QharnessError):
    """A data set, split or column that a task needs cannot be had."""


class MissingModel(UsageError):
    """A model reference leads nowhere, or no loader claims it."""


class UnsupportedArchitecture(QharnessError):
    """A quantizer or loader does not know the model's architecture."""


class DigestMismatch(QharnessError):
    """Something was computed from another model than the one it is used with (Hessians, caches)."""


class MissingTransform(QharnessError):
    """An artifact requires a runtime transform that could not be attached."""


class CorruptArtifact(QharnessError):
    """An artifact or checkpoint is unfinished, truncated or contradicts its manifest."""


class PluginError(QharnessError):
    """A plugin could not be loaded, or two plugins contradict each other."""


class Unwritable(UsageError):
    """A folder that results must go to cannot be written."""


def normalize_name(name: str) -> str:
    """Return the canonical spelling of a plugin, suite or option name: lower case, `-` as `_`."""
    return name.strip().lower().replace("-", "_")
