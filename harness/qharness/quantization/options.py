"""Options of a quantizer from `NAME=VALUE` texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from qharness.errors import UnknownName, UsageError, normalize_name
from qharness.records import QuantizerRecord

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def options_from(record: QuantizerRecord, values: Mapping[str, str]) -> Any:
    """Return an instance of the record's options with the given values set.

    Args:
        record: The quantizer.
        values: Texts by option name; case, `-` and `_` do not matter.

    Raises:
        UnknownName: The quantizer has no such option; a near match is suggested.
        UsageError: A value is not of the option's type.
    """
    hints = get_type_hints(record.options)
    known = {normalize_name(field.name): field.name for field in fields(record.options)}
    chosen: dict[str, Any] = {}
    for name, text in values.items():
        field = known.get(normalize_name(name))
        if field is None:
            raise UnknownName(f"option of '{record.name}' named", name, known.values())
        chosen[field] = _convert(f"{record.name}.{field}", text, hints[field])
    try:
        return record.options(**chosen)
    except ValueError as error:
        raise UsageError(f"Options of '{record.name}': {error}.") from error


def _convert(name: str, text: str, hint: Any) -> Any:
    text = text.strip()
    if get_origin(hint) is Literal:
        for choice in get_args(hint):
            if normalize_name(str(choice)) == normalize_name(text):
                return choice
        raise UsageError(f"{name}={text}: choose one of {', '.join(map(str, get_args(hint)))}.")
    if hint is bool:
        if text.lower() in TRUE | FALSE:
            return text.lower() in TRUE
        raise UsageError(f"{name}={text}: say true or false.")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise UsageError(f"{name}={text}: {'a whole number' if hint is int else 'a number'} is needed.") from None
    return text
