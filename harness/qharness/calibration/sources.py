"""Text sources of calibration: files, hub data sets, and what plugins offer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qharness.errors import MissingData, UnknownName, UsageError
from qharness.records import TextSource

if TYPE_CHECKING:
    from qharness.host import Host

TEXT_COLUMNS = ("text", "content")
SUFFIXES = (".txt", ".jsonl")
FORMS = "file:PATH or hub:OWNER/NAME[/CONFIG][:SPLIT]"


def texts_of(source: str, host: Host, seed: int = 0) -> Callable[[], Iterator[str]]:
    """Return what reads the texts of a source, in a fixed order.

    Args:
        source: `file:PATH` (a .txt file, a .jsonl file with a column `text`, or a folder of them),
            `hub:OWNER/NAME[/CONFIG][:SPLIT]`, or the name of a text source that a plugin offers, such as `demo`.
        host: Registry of the plugins.
        seed: Seed of sources that generate.

    Raises:
        MissingData: The file does not exist.
        UsageError: The source has no known form.
    """
    kind, colon, rest = source.partition(":")
    if colon and kind == "file":
        files = _files(Path(rest).expanduser())
        return lambda: (text for path in files for text in _read(path))
    if colon and kind == "hub":
        name, _, split = rest.partition(":")
        return lambda: _hub(name, split or "train")
    if colon:
        raise UsageError(f"'{source}' is no text source; write {FORMS}, or the name of one.")
    try:
        record = host.get(TextSource, source)
    except UnknownName:
        known = ", ".join(record.name for record in host.records(TextSource)) or "none installed"
        raise UsageError(f"There is no text source '{source}' (named sources: {known}); write {FORMS}.") from None
    return lambda: iter(record.texts(seed))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES)
        if not found:
            raise MissingData(f"The folder {path} holds no .txt or .jsonl file.")
        return found
    if not path.is_file():
        raise MissingData(f"The text file {path} does not exist.")
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} is no text source: .txt and .jsonl files are.")
    return [path]


def _read(path: Path) -> Iterator[str]:
    """Yield the paragraphs of a text file, or the texts of a JSON-lines file."""
    if path.suffix == ".txt":
        text = path.read_text(encoding="utf-8")
        yield from (part.strip() for part in text.split("\n\n") if part.strip())
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                yield row if isinstance(row, str) else next(row[name] for name in TEXT_COLUMNS if name in row)
            except (ValueError, TypeError, StopIteration) as error:
                raise MissingData(f"{path}, line {number}: no JSON object with a column 'text'.") from error


def _hub(name: str, split: str) -> Iterator[str]:
    """Stream a data set of the Hugging Face hub; a third part of the name is its configuration (a language, say)."""
    import datasets

    owner_and_name, config = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:]) or None
    try:
        rows = iter(datasets.load_dataset(owner_and_name, config, split=split, streaming=True))
        for row in rows:
            yield next(str(row[column]) for column in TEXT_COLUMNS if column in row)
    except StopIteration:
        raise MissingData(f"The data set '{name}' has no column 'text'.") from None
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingData(
            f"The data set '{name}' (split '{split}') cannot be had from the Hugging Face hub: {reason}; "
            "check the name and the network, or use file:PATH."
        ) from error
