"""Texts of the command line that become parts of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from qharness.errors import UsageError, normalize_name


def parse_settings(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Parse `PLUGIN.OPTION=VALUE` texts.

    Raises:
        UsageError: A text is not of that form.
    """
    settings: dict[str, dict[str, str]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        plugin, dot, option = target.partition(".")
        if not (equals and dot and plugin and option):
            raise UsageError(f"`--set {text}` is not understood; write --set PLUGIN.OPTION=VALUE.")
        settings.setdefault(normalize_name(plugin), {})[normalize_name(option)] = value
    return settings


def parse_shots(text: str | None) -> tuple[int, ...] | None:
    """Parse `0,5`, each number once; None stays None.

    Raises:
        UsageError: A part is no number.
    """
    if text is None:
        return None
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise UsageError(f"--num-fewshot {text}: numbers of examples are needed, such as 5 or 0,5.") from None


def parse_calibrations(texts: Sequence[str]) -> dict[str, list[str]]:
    """Parse `NAME=SOURCE` texts; sources of one name are joined.

    Raises:
        UsageError: A text is not of that form.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, source = text.partition("=")
        if not (name.strip() and equals and source.strip()):
            raise UsageError(f"`--calibration {text}` is not understood; write --calibration NAME=SOURCE.")
        found.setdefault(name.strip(), []).append(source.strip())
    return found
